// Copies what the page takes from npm into the package, with the licence of everything that is bundled in it.
//
// Run by `make web` after `npm ci`. Fails where a bundled package has no licence text or one that is not permissive.

import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const MODULES = join(HERE, "node_modules");
const TARGET = join(HERE, "..", "src", "mesr", "web", "static", "vendor", "niivue");
const NIIVUE = "@niivue/niivue";
const BUNDLE = "index.js";
const PERMISSIVE = new Set(["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "0BSD"]);

/** The packages whose code is in the bundle: what npm installed for it, however deep, build tools aside. */
async function packages(folder) {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
    const place = join(folder, entry.name);
    if (entry.name.startsWith("@")) found.push(...(await packages(place)));
    else found.push(place);
  }
  return found.filter((place) => !place.includes(join("@rollup", "")));
}

async function licence(place) {
  const { name, version, license } = JSON.parse(await readFile(join(place, "package.json"), "utf8"));
  if (!PERMISSIVE.has(license)) throw new Error(`${name} ${version}: the licence ${license} is not known to be permissive`);
  const file = (await readdir(place)).find((one) => /^licen[cs]e/i.test(one));
  // NiiVue's package carries no licence file; its repository's is kept beside this script.
  const source = file ? join(place, file) : name === NIIVUE ? join(HERE, "licences", "niivue.txt") : null;
  if (source === null) throw new Error(`${name} ${version} (${license}) has no licence text`);
  return `${name} ${version}, ${license}\n\n${(await readFile(source, "utf8")).trim()}\n`;
}

const texts = await Promise.all((await packages(MODULES)).map(licence));
await rm(TARGET, { recursive: true, force: true });
await mkdir(TARGET, { recursive: true });
await writeFile(join(TARGET, "LICENCES.txt"), texts.join(`\n${"-".repeat(78)}\n\n`));
const code = await readFile(join(MODULES, NIIVUE, "dist", BUNDLE), "utf8");
// Its source map stays behind.
await writeFile(join(TARGET, BUNDLE), code.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"));
console.log(`${BUNDLE} and the licences of ${texts.length} packages are in ${TARGET}`);
