// Talking to the server: JSON, pictures, and what a refusal says.

import { Frame } from "./frame.js";

/** What the server would not do: a code, a sentence, and what to do about it. */
export class Refusal extends Error {
  constructor(told) {
    super(`${told.sentence} ${told.fix ?? ""}`.trim());
    this.code = told.code;
  }
}

/** Hand over the token of the address this page was opened with, and take it out of the address. */
export async function admit() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname);
  await send("POST", "/api/session", { token });
}

export async function get(path, options = {}) {
  return (await checked(await fetch(path, options))).json();
}

export async function send(method, path, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await checked(await fetch(path, { method, headers, body: JSON.stringify(body) }));
  return answer.status === 204 ? null : answer.json();
}

/** A picture: what it is in a header, its numbers in the body. */
export async function frame(path, options = {}) {
  const answer = await checked(await fetch(path, options));
  return new Frame(JSON.parse(answer.headers.get("x-mesr-frame")), await answer.arrayBuffer());
}

/** Send files as one form. `onProgress` is told the share that is sent; fetch cannot tell it. */
export function upload(files, onProgress) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/studies");
    request.responseType = "json";
    request.upload.onprogress = (event) => onProgress(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(lost());
    request.onload = () =>
      request.status < 400 ? resolve(request.response) : reject(refusal(request.response));
    request.send(form);
  });
}

/** A query of what is given; what is null or empty is left out. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== "" && value !== undefined);
  return new URLSearchParams(given).toString();
}

async function checked(answer) {
  if (answer.ok) return answer;
  throw refusal(await answer.json().catch(() => null));
}

function refusal(told) {
  return told?.sentence ? new Refusal(told) : lost();
}

function lost() {
  return new Refusal({ code: "lost", sentence: "The server does not answer.", fix: "Is mesr web still running?" });
}
