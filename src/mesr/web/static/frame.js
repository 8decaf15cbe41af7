// A picture from the server: 16-bit numbers with a slope and an intercept, and where they lie on the input.
//
// Places are counted in input pixels, 0 being the outer edge of the first one.

const PADDING = -32768;
const LITTLE = 32768; // Index of the number 0 in a table over all 16-bit numbers.

export class Frame {
  /**
   * @param about rows, columns, planes (name, slope, intercept), top, left (centre of the first pixel, pixel 0's
   *   centre being 0) and step (input pixels from one pixel to the next), as the server tells it.
   * @param buffer the planes one after the other, int16, little-endian as every browser's machine is.
   */
  constructor(about, buffer) {
    Object.assign(this, about);
    const size = this.rows * this.columns;
    this.planes = new Map(
      about.planes.map((plane, n) => [plane.name, { ...plane, data: new Int16Array(buffer, 2 * n * size, size) }]),
    );
    const [down, across] = this.step;
    this.box = {
      top: this.top + 0.5 - down / 2,
      left: this.left + 0.5 - across / 2,
      height: down * this.rows,
      width: across * this.columns,
    };
  }

  /** The value of a plane at a place; null outside and where nothing was measured. */
  value(name, x, y) {
    const plane = this.planes.get(name);
    const row = Math.floor((y - this.box.top) / this.step[0]);
    const column = Math.floor((x - this.box.left) / this.step[1]);
    if (!plane || row < 0 || column < 0 || row >= this.rows || column >= this.columns) return null;
    const stored = plane.data[row * this.columns + column];
    return stored === PADDING ? null : stored * plane.slope + plane.intercept;
  }

  /** Whether all of a part of the input is on it. */
  covers({ top, bottom, left, right }) {
    const { box } = this;
    const more = 1e-6;
    return (
      box.top <= top + more && box.left <= left + more &&
      box.top + box.height >= bottom - more && box.left + box.width >= right - more
    );
  }
}

/** A plane of a frame as pixels, painted again only when its colours change. */
export class Picture {
  constructor(frame, name) {
    this.frame = frame;
    this.plane = frame.planes.get(name);
    this.canvas = new OffscreenCanvas(frame.columns, frame.rows);
    this.key = null;
  }

  /** Draw it where it lies. `colours` maps a value to 0xAABBGGRR and has a `key` that names it. */
  draw(context, viewport, colours, smooth) {
    if (this.key !== colours.key) this.paint(colours);
    const { box } = this.frame;
    const [left, top] = viewport.toScreen(box.left, box.top);
    const [right, bottom] = viewport.toScreen(box.left + box.width, box.top + box.height);
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.canvas, left, top, right - left, bottom - top);
  }

  paint(colours) {
    const { slope, intercept, data } = this.plane;
    const table = new Uint32Array(65536);
    for (let n = 0; n < 65536; n++) table[n] = colours.of((n - LITTLE) * slope + intercept);
    table[PADDING + LITTLE] = 0xff000000;
    const image = new ImageData(this.frame.columns, this.frame.rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let n = 0; n < data.length; n++) pixels[n] = table[data[n] + LITTLE];
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    this.key = colours.key;
  }
}

/** Grey within a window. */
export function grey({ centre, width }) {
  const low = centre - width / 2;
  const slope = 255 / width;
  return {
    key: `grey ${centre} ${width}`,
    of(value) {
      const level = Math.max(0, Math.min(255, Math.round((value - low) * slope)));
      return 0xff000000 | (level << 16) | (level << 8) | level;
    },
  };
}

/** Blue below, black at, orange above zero, full at ±`range`. */
export function diverging(range) {
  return {
    key: `diverging ${range}`,
    of(value) {
      const share = Math.max(-1, Math.min(1, value / range));
      const [red, green, blue] = share < 0 ? mix(-share, [72, 168, 255]) : mix(share, [255, 158, 54]);
      return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
    },
  };
}

function mix(share, colour) {
  return colour.map((full) => Math.round(full * share));
}
