// Files from a drop or a dialog: folders are walked, and nothing of their names is kept but what says the format.

const MOST_DEEP = 32;

/** Every file of a drop, those in folders too. Entries must be taken from the event before anything is awaited. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].filter(wanted);
  const found = [];
  for (const entry of entries) await walk(entry, found, 0);
  return found.filter(wanted);
}

/** Hidden files are what systems leave in folders. */
export function wanted(file) {
  return !file.name.startsWith(".");
}

async function walk(entry, found, depth) {
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  if (depth >= MOST_DEEP) return;
  const reader = entry.createReader();
  // A reader gives a hundred entries at a time, and none at the end.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const one of some) await walk(one, found, depth + 1);
  }
}

/** Have an area take drops; it is marked while something hovers over it. */
export function takeDrops(area, onFiles) {
  let depth = 0;
  const mark = () => area.classList.toggle("dropping", depth > 0);
  area.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    mark();
  });
  area.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    mark();
  });
  area.addEventListener("dragover", (event) => event.preventDefault());
  area.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    mark();
    onFiles(await filesOf(event.dataTransfer));
  });
}
