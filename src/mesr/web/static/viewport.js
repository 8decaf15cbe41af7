// What is seen of an image: a zoom and a centre, shared by every pane, so that all of them stay linked.

const FURTHEST = 0.05;
const NEAREST = 64;

export class Viewport {
  constructor() {
    this.width = this.height = 1;
    this.rows = this.columns = 1;
    this.aspect = 1;
    this.fit();
  }

  /** An image's size in pixels, and how much higher than wide one of them is. */
  show(rows, columns, aspect) {
    Object.assign(this, { rows, columns, aspect });
    this.fit();
  }

  /** The size of a pane, in CSS pixels. What is at its centre stays there. */
  resize(width, height) {
    const fitted = this.fitted;
    Object.assign(this, { width, height });
    if (fitted) this.fit();
  }

  /** All of the image, as large as it goes. */
  fit() {
    this.zoom = Math.min(this.width / this.columns, this.height / (this.rows * this.aspect));
    this.x = this.columns / 2;
    this.y = this.rows / 2;
    this.fitted = true;
  }

  toScreen(x, y) {
    return [
      this.width / 2 + (x - this.x) * this.zoom,
      this.height / 2 + (y - this.y) * this.zoom * this.aspect,
    ];
  }

  toImage(left, top) {
    return [
      this.x + (left - this.width / 2) / this.zoom,
      this.y + (top - this.height / 2) / (this.zoom * this.aspect),
    ];
  }

  /** Magnify about a place of the pane, which stays where it is. */
  magnify(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toImage(left, top);
    this.zoom = Math.max(FURTHEST, Math.min(NEAREST, this.zoom * factor));
    this.x = x - (left - this.width / 2) / this.zoom;
    this.y = y - (top - this.height / 2) / (this.zoom * this.aspect);
    this.fitted = false;
    this.hold();
  }

  pan(right, down) {
    this.x -= right / this.zoom;
    this.y -= down / (this.zoom * this.aspect);
    this.fitted = false;
    this.hold();
  }

  /** The part of the image that is seen, `margin` (a share of it) more on every side. */
  view(margin = 0) {
    const [left, top] = this.toImage(0, 0);
    const [right, bottom] = this.toImage(this.width, this.height);
    const [wider, higher] = [margin * (right - left), margin * (bottom - top)];
    const within = (value, most) => Math.max(0, Math.min(most, value));
    return {
      top: within(top - higher, this.rows),
      bottom: within(bottom + higher, this.rows),
      left: within(left - wider, this.columns),
      right: within(right + wider, this.columns),
    };
  }

  /** Keep some of the image in sight. */
  hold() {
    this.x = Math.max(0, Math.min(this.columns, this.x));
    this.y = Math.max(0, Math.min(this.rows, this.y));
  }
}
