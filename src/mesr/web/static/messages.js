// What the page says: notes beside the picture, a refusal above it, a word over it.

export const $ = (id) => document.getElementById(id);

export function notes(list) {
  const seen = new Map(list.map((note) => [note.code, note]));
  $("notes-box").hidden = !seen.size;
  $("notes").replaceChildren(...[...seen.values()].map((note) => {
    const item = document.createElement("li");
    item.textContent = note.text;
    item.dataset.code = note.code;
    item.className = note.code.startsWith("outside-") || note.code.startsWith("perceptual") ? "warn" : "";
    return item;
  }));
}

export function show(id, text) {
  $(id).hidden = !text;
  $(id).textContent = text;
}

export function alarm(error) {
  $("alert-text").textContent = error.message;
  $("alert").hidden = false;
}

export function hush() {
  $("alert").hidden = true;
}
