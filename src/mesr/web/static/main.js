// The page: what is chosen, kept in one place, and the controls, the viewer and the server told of it.

import { Refusal, admit, get, query, send, upload } from "./api.js";
import { takeDrops, wanted } from "./drop.js";
import { takeKeys } from "./keys.js";
import { Live } from "./live.js";
import { $, alarm, hush, notes, show } from "./messages.js";
import { presetsOf, same } from "./presets.js";
import { decimal } from "./space.js";
import { Viewer } from "./viewer.js";
import { VolumeView } from "./volume.js";
import { facts, label, measured, planned, position, short } from "./wording.js";
import { Work } from "./work.js";

const TOO_LARGE = {
  code: "too-large-to-show",
  text: "The result is larger than a browser shows at once; the volume view shows the input alone.",
};

const each = (name, then) => document.querySelectorAll(`input[name="${name}"]`).forEach(then);

const state = {
  about: null, // What the server offers.
  study: null, // The upload.
  series: null, // The opened series.
  number: 0, // Which one it is.
  k: 0, // The slice.
  target: { scale: "2" },
  model: "auto",
  presets: [],
  uploading: false,
};

const viewer = new Viewer($("canvas"), $("handle"), {
  view: () => {
    $("at-zoom").textContent = state.series ? `${decimal(100 * viewer.viewport.zoom)} %` : "–";
    look();
  },
  slice: (steps) => goTo(state.k + steps),
  window: showWindow,
  swipe: () => {},
  point: showPoint,
});
const live = new Live({
  source: (frame, k) => k === state.k && viewer.setSource(frame, k),
  result: (frame, wish) => {
    if (wish.k !== state.k || wish.model !== state.model) return false;
    viewer.setResult(frame, wish.k, label(frame));
    document.body.dataset.shown = state.exact = frame.exact ? "exact" : "moving";
    return true;
  },
  settled: () => (document.body.dataset.shown = state.exact),
  busy: (computing) => show("busy", computing ? "Computing…" : ""),
  refused: (error) => alarm(error),
});
const volume = new VolumeView($("volume"), { refused: alarm, busy: (text) => show("busy", text) });
const work = new Work(
  {
    start: $("run"), stop: $("stop"), bar: $("run-bar"), text: $("run-text"),
    result: $("result"), downloads: $("downloads"),
  },
  {
    refused: alarm,
    done: (done) => {
      notes(done.shown ? done.notes : [...done.notes, TOO_LARGE]);
      document.querySelector('input[name="seen"][value="1"]').disabled = !done.shown;
      if (viewer.mode === "volume") showVolume();
    },
  },
);

// ---- Studies ----------------------------------------------------------------------------------------------

async function take(files) {
  if (state.uploading) return alarm(new Error("A study is being sent. Drop the next one when it is there."));
  if (!files.length) return alarm(new Error("There is no file in what was dropped."));
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  if (bytes > state.about.most_bytes || files.length > state.about.most_files) {
    return alarm(new Error("The files are more than the page takes at once. Use mesr upscale for them."));
  }
  hush();
  state.uploading = true;
  try {
    if (state.study) await leave();
    $("upload").hidden = false;
    const study = await upload(files, (share) => {
      const bar = $("upload-bar");
      if (share < 1) bar.value = share;
      else bar.removeAttribute("value");
      $("upload-text").textContent = share < 1 ? `Sending ${decimal(100 * share)} %` : "Reading the study…";
    });
    await enter(study);
  } catch (error) {
    alarm(error);
  } finally {
    state.uploading = false;
    $("upload").hidden = true;
    $("upload-bar").removeAttribute("value");
  }
}

async function enter(study) {
  const [first] = study.refused;
  if (!study.series.length) {
    send("DELETE", `/api/studies/${study.id}`).catch(() => {});
    throw first ? new Refusal(first) : new Error("No image was found.");
  }
  state.study = study;
  $("modality").value = "";
  $("series").replaceChildren(...study.series.map((one, n) => new Option(one.label, n)));
  $("series-field").hidden = study.series.length === 1;
  $("start").hidden = true;
  for (const id of ["work", "modes", "close"]) $(id).hidden = false;
  if (first) alarm(new Error(`${study.refused.length} of the files or series could not be used. ${first.sentence}`));
  await openSeries(0);
}

async function leave() {
  const { study } = state;
  state.study = state.series = null;
  live.forget();
  work.reset();
  viewer.clear();
  for (const id of ["work", "modes", "close"]) $(id).hidden = true;
  $("start").hidden = false;
  if (study) await send("DELETE", `/api/studies/${study.id}`).catch(() => {});
}

async function openSeries(number) {
  const { study } = state;
  const opening = (state.opening = {});
  work.reset();
  document.querySelector('input[name="seen"][value="0"]').checked = true;
  document.querySelector('input[name="seen"][value="1"]').disabled = true;
  const modality = $("modality").value;
  const said = study.series[number].modality !== null;
  $("modality-field").hidden = said;
  const base = `/api/studies/${study.id}/series/${number}`;
  const series = await get(`${base}?${query({ modality: said ? "" : modality })}`);
  if (state.study !== study || state.opening !== opening) return;
  Object.assign(state, { series, number, base, modality: said ? "" : modality });
  const [slices, rows, columns] = series.size;
  state.k = Math.floor(slices / 2);
  viewer.show(rows, columns, series.spacing ? series.spacing[1] / series.spacing[2] : 1, series.affine);
  Object.assign(viewer, { unit: series.unit, step: series.unit === "HU" ? 0.5 : 0 });
  $("facts").textContent = facts(series);
  $("spacing-field").hidden = series.spacing === null;
  Object.assign($("slice"), { max: slices, value: state.k + 1, disabled: slices === 1 });
  $("run").textContent = slices === 1 ? "Upscale the slice" : `Upscale all ${slices} slices`;
  state.presets = presetsOf(series);
  $("presets").replaceChildren(...state.presets.map(presetButton));
  setWindow(state.presets[0]);
  live.open(base, state.modality);
  if (viewer.mode === "volume") setMode("swipe");
  notes(series.notes);
  goTo(state.k, true);
  plan();
  document.body.dataset.series = String(number);
}

// ---- Looking ----------------------------------------------------------------------------------------------

function goTo(k, again = false) {
  if (!state.series) return;
  const within = Math.max(0, Math.min(state.series.size[0] - 1, k));
  if (within === state.k && !again) return;
  state.k = within;
  $("slice").value = within + 1;
  $("slice-number").textContent = `${within + 1} / ${state.series.size[0]}`;
  live.source(within).catch(alarm);
  look();
}

function look(pace = "") {
  if (!state.series || viewer.mode === "volume") return;
  delete document.body.dataset.shown;
  const { k, target, model } = state;
  live.ask({ k, target, model, viewport: viewer.viewport, difference: viewer.mode === "difference" }, pace);
}

function setMode(mode) {
  document.querySelector(`input[name="mode"][value="${mode}"]`).checked = true;
  const solid = mode === "volume";
  $("volume").hidden = !solid;
  $("canvas").hidden = solid;
  $("volume-tools").hidden = !solid;
  $("range-field").hidden = $("at-difference-box").hidden = mode !== "difference";
  viewer.set({ mode });
  if (solid) showVolume();
  else look();
}

function showVolume() {
  if (!state.series) return;
  const addresses = [`${state.base}/volume`];
  if (work.last?.shown) addresses.push(`/api/jobs/${work.last.id}/nifti`);
  volume.show(addresses, Number(document.querySelector('input[name="seen"]:checked').value), viewer.window);
}

function setTool(tool) {
  document.querySelector(`input[name="tool"][value="${tool}"]`).checked = true;
  viewer.set({ tool });
}

function setSmooth(smooth) {
  $("smooth").checked = smooth;
  viewer.set({ smooth });
}

// ---- Windows ----------------------------------------------------------------------------------------------

function presetButton(preset, n) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", textContent: preset.name, title: `Key ${n + 1}` });
  button.addEventListener("click", () => setWindow(preset));
  return button;
}

function setWindow({ centre, width }) {
  viewer.least = state.series?.unit === "HU" ? 1 : (state.presets[0]?.width ?? 1) / 1000;
  viewer.set({ window: { centre, width } });
  showWindow(viewer.window);
}

function showWindow(window) {
  const digits = state.series?.unit === "HU" ? 0 : 2;
  $("centre").value = window.centre.toFixed(digits);
  $("width").value = window.width.toFixed(digits);
  state.presets.forEach((preset, n) => $("presets").children[n]?.setAttribute("aria-pressed", same(preset, window)));
  volume.put(Number(document.querySelector('input[name="seen"]:checked').value), window);
}

// ---- What is asked for ------------------------------------------------------------------------------------

function setTarget(target, pace = "") {
  state.target = target;
  if (target.scale !== undefined) {
    $("spacing").value = "";
    $("scale-text").value = target.scale;
    const number = Number(target.scale);
    if (Number.isFinite(number)) $("scale").value = number;
  }
  look(pace);
  clearTimeout(state.planning);
  // After the picture, which someone waits for.
  if (pace !== "moving") state.planning = setTimeout(plan, 250);
}

/** What the target makes of the study; a target that makes no sense is marked where it was typed. */
async function plan() {
  const { base, target, model, modality } = state;
  const field = target.spacing === undefined ? $("scale-text") : $("spacing");
  try {
    const told = await get(`${base}/plan?${query({ ...target, model, modality })}`);
    if (state.base !== base || state.target !== target) return;
    for (const id of ["scale-text", "spacing"]) $(id).removeAttribute("aria-invalid");
    $("plan").textContent = planned(told);
    if (target.spacing !== undefined) {
      $("scale").value = told.scale[0];
      $("scale-text").value = short(told.scale[0], 3);
    }
    notes([...state.series.notes, ...told.notes]);
  } catch (error) {
    if (state.base !== base || state.target !== target) return;
    field.setAttribute("aria-invalid", "true");
    $("plan").textContent = error.message;
  }
}

function nudge(step) {
  const now = Number($("scale").value);
  const scale = Math.max(1, Math.min(Number($("scale").max), now + step));
  setTarget({ scale: String(Number(scale.toFixed(2))) }, "moving");
  state.planning = setTimeout(plan, 400);
}

function showPoint(place) {
  const { series } = state;
  const { k } = viewer; // That of the picture, which may be behind the one asked for.
  const [x, y] = place ?? [-1, -1];
  const inside = series && x >= 0 && y >= 0 && x < series.size[2] && y < series.size[1];
  const value = (picture, name) => measured(inside && picture ? picture.frame.value(name, x, y) : null, series?.unit);
  $("at-before").textContent = value(viewer.source, "source");
  $("at-after").textContent = value(viewer.current && viewer.result, "result");
  $("at-difference").textContent = value(viewer.current && viewer.difference, "difference");
  $("at-place").textContent = inside ? position(series.affine, k, x, y) : "–";
}

// ---- Controls ---------------------------------------------------------------------------------------------

function connect() {
  takeDrops(document.body, take);
  for (const [button, input] of [["choose-folder", "folder"], ["choose-files", "files"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      const files = [...$(input).files].filter(wanted);
      $(input).value = "";
      take(files);
    });
  }
  $("close").addEventListener("click", leave);
  $("help").addEventListener("click", () => $("keys").showModal());
  $("alert-close").addEventListener("click", hush);
  $("series").addEventListener("change", () => openSeries(Number($("series").value)).catch(alarm));
  $("modality").addEventListener("change", () => openSeries(state.number).catch(alarm));
  $("model").addEventListener("change", () => {
    state.model = $("model").value;
    live.dropped();
    viewer.dropResult();
    setTarget(state.target);
  });
  $("slice").addEventListener("input", () => goTo(Number($("slice").value) - 1));
  $("scale").addEventListener("input", () => setTarget({ scale: $("scale").value }, "moving"));
  $("scale").addEventListener("change", () => setTarget({ scale: $("scale").value }, "released"));
  $("scale-text").addEventListener("change", () => setTarget({ scale: $("scale-text").value.trim() }));
  $("spacing").addEventListener("change", () => {
    const spacing = $("spacing").value.trim();
    setTarget(spacing ? { spacing } : { scale: $("scale-text").value });
  });
  for (const id of ["centre", "width"]) {
    $(id).addEventListener("change", () => {
      const [centre, width] = [Number($("centre").value), Number($("width").value)];
      setWindow(width > 0 ? { centre, width } : viewer.window);
    });
  }
  $("range").addEventListener("change", () => viewer.set({ range: Math.max(1e-6, Number($("range").value) || 50) }));
  $("fit").addEventListener("click", () => viewer.fit());
  $("closer").addEventListener("click", () => viewer.magnify(1.25));
  $("further").addEventListener("click", () => viewer.magnify(0.8));
  $("smooth").addEventListener("change", () => setSmooth($("smooth").checked));
  each("mode", (one) => one.addEventListener("change", () => setMode(one.value)));
  each("tool", (one) => one.addEventListener("change", () => setTool(one.value)));
  each("seen", (one) => one.addEventListener("change", showVolume));
  $("run").addEventListener("click", () => {
    const { number, target, model, modality } = state;
    hush();
    work.start(state.study.id, { series: number, model, modality, ...target });
  });
  takeKeys({
    active: () => state.series !== null && !$("keys").open,
    help: () => $("keys").showModal(),
    slice: (steps) => goTo(state.k + steps),
    end: (last) => goTo(last ? state.series.size[0] - 1 : 0),
    swipe: (step) => viewer.setSwipe(viewer.swipe + step),
    scale: nudge,
    zoom: (factor) => viewer.magnify(factor),
    fit: () => viewer.fit(),
    preset: (n) => state.presets[n] && setWindow(state.presets[n]),
    mode: setMode,
    tool: setTool,
    smooth: () => setSmooth(!viewer.smooth),
  });
  addEventListener("pagehide", () => {
    // Closing the page lets the study go at once; what is not told so goes by time.
    if (state.study) fetch(`/api/studies/${state.study.id}`, { method: "DELETE", keepalive: true });
  });
}

async function start() {
  try {
    await admit();
    state.about = await get("/api/about");
  } catch (error) {
    alarm(error);
    for (const id of ["choose-folder", "choose-files"]) $(id).disabled = true;
    return;
  }
  const named = (model) => {
    const trained = model.trained.length ? ` (${model.trained.join(", ")})` : "";
    return new Option(`${model.name}${model.network ? trained : " (no network)"}${model.perceptual ? ", texture may be invented" : ""}`, model.name);
  };
  $("model").replaceChildren(new Option("Automatic", "auto"), ...state.about.models.map(named));
  connect();
  document.body.dataset.ready = "true";
}

start();
