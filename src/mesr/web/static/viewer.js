// The canvas: before and after under one viewport, and what hands do on it.
//
// Drawing knows nothing of servers: it is given frames. Hands change the viewport, the window, the slice and the
// swipe, and tell it through `on`.

import { Picture, diverging, grey } from "./frame.js";
import { edges } from "./space.js";
import { Viewport } from "./viewport.js";

const LABEL = "12px system-ui, sans-serif";
const LETTER = "600 14px system-ui, sans-serif";
const NOTCH = 60; // Wheel units of one slice.

export class Viewer {
  /**
   * @param canvas fills its parent.
   * @param handle the swipe's, an element over the canvas.
   * @param on `view()`, `slice(steps)`, `window(window)`, `swipe(share)`, `point(place or null)`.
   */
  constructor(canvas, handle, on) {
    Object.assign(this, { canvas, handle, on });
    this.context = canvas.getContext("2d", { alpha: false });
    this.viewport = new Viewport();
    this.mode = "swipe";
    this.tool = "window";
    this.smooth = true;
    this.swipe = 0.5;
    this.window = { centre: 40, width: 400 };
    this.range = 50;
    this.affine = null;
    this.cursor = null;
    this.clear();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.listen();
  }

  clear() {
    this.source = this.result = this.difference = null;
    this.k = this.resultOf = -1;
    this.label = "";
    this.pointers = new Map();
    this.draw();
  }

  show(rows, columns, aspect, affine) {
    this.clear();
    this.affine = affine;
    this.viewport.show(rows, columns, aspect);
    this.resize();
  }

  setSource(frame, k) {
    this.source = new Picture(frame, "source");
    this.k = k;
    this.draw();
    this.point();
  }

  setResult(frame, k, label) {
    this.label = label;
    this.result = new Picture(frame, "result");
    this.difference = frame.planes.has("difference") ? new Picture(frame, "difference") : null;
    this.resultOf = k;
    this.draw();
    this.point();
  }

  /** Show no result until the next one. */
  dropResult() {
    this.result = this.difference = null;
    this.resultOf = -1;
    this.label = "";
    this.draw();
    this.point();
  }

  set(changes) {
    const panes = this.panes;
    Object.assign(this, changes);
    if (panes !== this.panes) this.resize();
    this.draw();
  }

  get panes() {
    return this.mode === "side" ? 2 : 1;
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * this.ratio);
    this.canvas.height = Math.round(clientHeight * this.ratio);
    this.viewport.resize(clientWidth / this.panes, clientHeight);
    this.moved();
  }

  /** Draw at the next frame of the screen, however often it is asked for before. */
  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.paint();
    });
  }

  paint() {
    const { context, viewport } = this;
    context.setTransform(this.ratio ?? 1, 0, 0, this.ratio ?? 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.place();
    if (!this.source) return;
    const { width, height } = viewport;
    if (this.mode === "side") {
      this.pane(0, width, () => this.before());
      this.pane(width, width, () => this.after());
      context.fillStyle = "#2b333d";
      context.fillRect(width - 0.5, 0, 1, height);
      this.named("Before", 14, "left");
      if (this.current) this.named(this.label, 2 * width - 14, "right");
      return;
    }
    if (this.mode === "difference") {
      this.pane(0, width, () => this.differing());
      if (this.current) this.named("After less bicubic interpolation", 14, "left");
      this.legend();
      return;
    }
    const line = this.swipe * width;
    this.pane(0, line, () => this.before());
    this.clipped(line, width - line, () => this.after());
    this.letters(0, width);
    this.named("Before", 14, "left");
    if (this.current) this.named(this.label, width - 14, "right");
  }

  /** Draw into a pane of its own, with the letters at its edges. */
  pane(left, width, draw) {
    this.context.save();
    this.context.translate(left, 0);
    this.clipped(0, width, draw);
    if (this.mode !== "swipe") this.letters(0, width);
    this.context.restore();
  }

  clipped(left, width, draw) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(left, 0, width, this.viewport.height);
    context.clip();
    draw();
    context.restore();
  }

  before() {
    this.source.draw(this.context, this.viewport, grey(this.window), this.smooth);
  }

  /** The result where there is one; around and before it the input, so that nothing jumps. */
  after() {
    if (!this.current || !this.result.frame.covers(this.viewport.view())) this.before();
    if (this.current) this.result.draw(this.context, this.viewport, grey(this.window), this.smooth);
  }

  differing() {
    if (this.current && this.difference) {
      this.difference.draw(this.context, this.viewport, diverging(this.range), this.smooth);
    }
  }

  get current() {
    return this.result !== null && this.resultOf === this.k;
  }

  letters(left, width) {
    if (!this.affine) return;
    const { context } = this;
    const found = edges(this.affine);
    context.font = LETTER;
    context.textBaseline = "middle";
    this.text(found.left, left + 10, this.viewport.height / 2, "left");
    this.text(found.right, left + width - 10, this.viewport.height / 2, "right");
    // Beside the swipe's line where that is in the middle.
    const middle = this.mode === "swipe" && Math.abs(this.swipe - 0.5) * width < 14 ? width / 2 + 16 : width / 2;
    this.text(found.top, left + middle, 18, "center");
    this.text(found.bottom, left + middle, this.viewport.height - 18, "center");
  }

  named(text, left, align) {
    this.context.font = LABEL;
    this.context.textBaseline = "middle";
    this.text(text, left, 18, align);
  }

  text(text, left, top, align) {
    const { context } = this;
    context.textAlign = align;
    context.lineWidth = 3;
    context.strokeStyle = "rgba(0, 0, 0, 0.8)";
    context.strokeText(text, left, top);
    context.fillStyle = "#e8c96a";
    context.fillText(text, left, top);
  }

  legend() {
    const { context } = this;
    const [width, left, top] = [180, this.viewport.width - 200, 12];
    const colours = diverging(this.range);
    for (let n = 0; n < width; n++) {
      const packed = colours.of((2 * n / (width - 1) - 1) * this.range);
      context.fillStyle = `rgb(${packed & 255}, ${(packed >> 8) & 255}, ${(packed >> 16) & 255})`;
      context.fillRect(left + n, top, 1, 10);
    }
    context.font = LABEL;
    context.textBaseline = "top";
    this.text(`−${this.range}`, left, top + 14, "left");
    this.text("0", left + width / 2, top + 14, "center");
    this.text(`+${this.range} ${this.unit ?? ""}`.trim(), left + width, top + 14, "right");
  }

  /** Put the handle on its line. */
  place() {
    this.handle.hidden = this.mode !== "swipe" || !this.source;
    this.handle.style.left = `${this.swipe * 100}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.swipe * 100)));
  }

  setSwipe(share) {
    this.swipe = Math.max(0, Math.min(1, share));
    this.on.swipe(this.swipe);
    this.draw();
  }

  /** The pane under a place of the canvas, and the place within it. */
  within(event) {
    const box = this.canvas.getBoundingClientRect();
    const left = event.clientX - box.left;
    const pane = this.panes === 2 && left >= this.viewport.width ? 1 : 0;
    return [left - pane * this.viewport.width, event.clientY - box.top];
  }

  listen() {
    const { canvas, handle } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointerleave", () => {
      this.cursor = null;
      this.point();
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      handle.focus();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = canvas.getBoundingClientRect();
      this.setSwipe((event.clientX - box.left) / box.width);
    });
  }

  down(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const doing = event.button === 1 || event.shiftKey ? "pan" : event.button === 2 ? "zoom" : this.tool;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, doing });
    if (event.button === 1) event.preventDefault();
  }

  move(event) {
    const held = this.pointers.get(event.pointerId);
    this.cursor = { clientX: event.clientX, clientY: event.clientY };
    this.point();
    if (!held || !this.source) return;
    const [right, down] = [event.clientX - held.x, event.clientY - held.y];
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId);
    const before = { ...held };
    Object.assign(held, { x: event.clientX, y: event.clientY });
    if (others.length) {
      this.pinch(before, held, others[0][1]);
    } else if (held.doing === "pan") {
      this.viewport.pan(right, down);
      this.moved();
    } else if (held.doing === "zoom") {
      this.viewport.magnify(Math.exp(-down / 200));
      this.moved();
    } else {
      this.level(right, down);
    }
  }

  /** Two fingers: what is between them stays between them. */
  pinch(before, after, other) {
    const distance = (one) => Math.max(8, Math.hypot(one.x - other.x, one.y - other.y));
    const [left, top] = this.within({ clientX: (after.x + other.x) / 2, clientY: (after.y + other.y) / 2 });
    this.viewport.magnify(distance(after) / distance(before), left, top);
    this.viewport.pan((after.x - before.x) / 2, (after.y - before.y) / 2);
    this.moved();
  }

  /** Right widens, down darkens; a step is as large as the window makes it useful. */
  level(right, down) {
    const step = Math.max(0.002 * this.window.width, this.step ?? 0.5);
    this.window = {
      centre: this.window.centre + down * step,
      width: Math.max(this.least ?? 1, this.window.width + 2 * right * step),
    };
    this.on.window(this.window);
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    if (!this.source) return;
    if (event.ctrlKey || event.metaKey) {
      this.viewport.magnify(Math.exp(-event.deltaY / 300), ...this.within(event));
      this.moved();
      return;
    }
    this.turned = (this.turned ?? 0) + (event.deltaMode === 1 ? 40 * event.deltaY : event.deltaY);
    const steps = Math.trunc(this.turned / NOTCH);
    this.turned -= steps * NOTCH;
    if (steps) this.on.slice(steps);
  }

  magnify(factor) {
    this.viewport.magnify(factor);
    this.moved();
  }

  fit() {
    this.viewport.fit();
    this.moved();
  }

  moved() {
    this.draw();
    this.on.view();
    this.point();
  }

  /** Tell what of the image is under the cursor, which stays where it is while the image moves. */
  point() {
    this.on.point(this.source && this.cursor ? this.viewport.toImage(...this.within(this.cursor)) : null);
  }
}
