// Sentences about a series, a picture and what is planned, for people.

import { decimal, millimetres } from "./space.js";

/** Modality, size and spacing of a series. */
export function facts({ size, spacing, modality, unit }) {
  const [slices, rows, columns] = size;
  const placed = spacing
    ? ` · ${decimal(spacing[2], 3)} × ${decimal(spacing[1], 3)} mm, slices every ${decimal(spacing[0], 2)} mm`
    : " · no spacing";
  const kind = `${modality ?? "Modality not said"}${unit ? ` in ${unit}` : ""}`;
  return `${kind} · ${columns} × ${rows} pixels, ${slices} slice${slices === 1 ? "" : "s"}${placed}`;
}

/** What a picture of the result is called on the screen. */
export function label(frame) {
  return `After ×${both(frame.scale, 3)}${frame.exact ? "" : " (moving)"}`;
}

/** What the target makes of the series. */
export function planned({ model, size, spacing, scale }) {
  const placed = spacing ? ` · ${both([spacing[2], spacing[1]], 4)} mm` : "";
  return `${model} gives ${size[2]} × ${size[1]} pixels${placed} · effective scale ${both(scale, 4)}`;
}

/** A value under the cursor. */
export function measured(value, unit) {
  return value === null ? "–" : `${decimal(value, unit === "HU" ? 0 : 2)} ${unit}`.trim();
}

/** Where the cursor is: in mm where the series says where it lies, else in pixels. */
export function position(affine, k, x, y) {
  if (!affine) return `column ${Math.floor(x) + 1}, row ${Math.floor(y) + 1}`;
  const [left, back, up] = millimetres(affine, k, x, y).map((mm) => decimal(mm, 1));
  return `x ${left}  y ${back}  z ${up} mm (LPS)`;
}

/** A number with at most so many decimals. */
export function short(value, digits) {
  return decimal(value, digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** Numbers of both axes, once where they are the same. */
function both(values, digits) {
  return [...new Set(values.map((value) => short(value, digits)))].join(" × ");
}
