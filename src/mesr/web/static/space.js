// From voxels to millimetres and to the patient's directions (DICOM's LPS: left, posterior, superior).

const LETTERS = [["L", "R"], ["P", "A"], ["S", "I"]];

/** LPS millimetres of slice k and a place counted from the image's outer edge. */
export function millimetres(affine, k, x, y) {
  const index = [k, y - 0.5, x - 0.5, 1];
  return affine.slice(0, 3).map((row) => row.reduce((sum, factor, n) => sum + factor * index[n], 0));
}

/** The letters at the edges of an image: towards what part of the patient it goes there. */
export function edges(affine) {
  const along = (axis) => affine.slice(0, 3).map((row) => row[axis]);
  const [down, across] = [along(1), along(2)];
  const turned = (vector) => vector.map((value) => -value);
  return { right: letters(across), left: letters(turned(across)), bottom: letters(down), top: letters(turned(down)) };
}

/** The one or two directions a vector mostly points to, the strongest first. */
function letters(vector) {
  const length = Math.hypot(...vector);
  return vector
    .map((value, n) => ({ share: Math.abs(value) / length, letter: LETTERS[n][value > 0 ? 0 : 1] }))
    .filter(({ share }) => share > 0.35)
    .sort((a, b) => b.share - a.share)
    .slice(0, 2)
    .map(({ letter }) => letter)
    .join("");
}

/** A number with so many decimals and a real minus sign. */
export function decimal(value, digits = 0) {
  return value.toFixed(digits).replace(/^-(?=0(\.0*)?$)/, "").replace("-", "−");
}
