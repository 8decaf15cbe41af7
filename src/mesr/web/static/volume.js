// The volume view: NiiVue shows the study, and its result once there is one, in three planes and as a body.
//
// NiiVue is large and needs WebGL 2, so it is loaded when the view is first opened.

const LIBRARY = "./vendor/niivue/index.js";

export class VolumeView {
  /** @param canvas NiiVue's own. @param on `refused(error)`, `busy(text)`. */
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on;
    this.viewer = null;
    this.loaded = "";
  }

  /**
   * Show volumes that differ in their magnification alone.
   * @param addresses of the study and, where there is one, of its result.
   * @param seen which of them is on top.
   */
  async show(addresses, seen, window) {
    try {
      this.viewer ??= await this.started();
      const key = addresses.join(" ");
      if (this.loaded !== key) {
        this.on.busy("Loading the volume…");
        await this.viewer.loadVolumes(addresses.map((url, n) => ({ url, name: `volume-${n}.nii.gz`, colormap: "gray" })));
        this.loaded = key;
        document.body.dataset.volume = String(this.viewer.volumes.length);
      }
      this.put(seen, window);
    } catch (error) {
      this.loaded = "";
      this.on.refused(new Error(error.message || "The volume could not be shown."));
    } finally {
      this.on.busy("");
    }
  }

  /** One of the volumes on top, under a window. */
  put(seen, { centre, width }) {
    if (!this.viewer || !this.loaded) return;
    this.viewer.volumes.forEach((volume, n) => {
      volume.cal_min = centre - width / 2;
      volume.cal_max = centre + width / 2;
      this.viewer.setOpacity(n, n === Math.min(seen, this.viewer.volumes.length - 1) ? 1 : 0);
    });
    this.viewer.updateGLVolume();
  }

  async started() {
    const { Niivue, SHOW_RENDER, SLICE_TYPE } = await import(LIBRARY);
    if (!document.createElement("canvas").getContext("webgl2")) {
      throw new Error("This browser has no WebGL 2, which the volume view needs.");
    }
    const viewer = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0.25,
      crosshairWidthUnit: "percent",
      crosshairColor: [0.91, 0.79, 0.42, 0.8],
      isRadiologicalConvention: true,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      dragAndDropEnabled: false,
      show3Dcrosshair: true,
      logLevel: "error",
    });
    await viewer.attachToCanvas(this.canvas);
    viewer.setSliceType(SLICE_TYPE.MULTIPLANAR);
    return viewer;
  }
}
