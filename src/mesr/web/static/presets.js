// Windows that readers of CT use, in HU; for anything else the volume's own range.

export const CT = [
  { name: "Soft tissue", centre: 40, width: 400 },
  { name: "Lung", centre: -600, width: 1500 },
  { name: "Bone", centre: 400, width: 1800 },
  { name: "Brain", centre: 40, width: 80 },
];

/** The presets of a series: CT's, or the range that was found in its values. */
export function presetsOf({ unit, window }) {
  if (unit === "HU") return CT;
  const [low, high] = window ?? [0, 1];
  const named = (name, share) => ({ name, centre: (low + high) / 2, width: (high - low) * share });
  return [named("Full", 1.3), named("Usual", 1), named("Narrow", 0.6)];
}

/** Whether a window is a preset's, to what its fields show. */
export function same(one, other) {
  const near = (a, b) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a));
  return near(one.centre, other.centre) && near(one.width, other.width);
}
