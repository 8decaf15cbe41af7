"""The routes of the page. They parse, ask the modules beside this one, and answer; nothing is decided here."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from .. import __version__, limits
from ..errors import InternalError, MesrError, OutOfMemory, TooLarge, UsageError
from ..grid import Target
from ..inference import Options
from ..job import Settings
from ..models import weights
from . import answers, downloads, uploads
from .jobs import Jobs
from .live import Frame, Live, Place, View
from .security import Guard, body_of, cookie_of, status_of
from .session import Desk

STATIC = Path(str(resources.files("mesr.web") / "static"))
VIEWER = STATIC / "vendor" / "niivue" / "index.js"
"""What `make web` brings."""

SWEEP_SECONDS = 60.0

Word = Annotated[str, Field(max_length=80)]
Edge = Annotated[float, Field(allow_inf_nan=False)]
Modality = Annotated[str, Field(pattern="^(ct|mr)?$")]


@dataclass(frozen=True)
class Service:
    """What a server offers.

    Attributes:
        names: host names it may be reached by, beside its own address.
        token: asked for by every request but that for the page; None asks for nothing.
        models: weights files that are offered beside the shipped ones.
        compute: device, precision.
        most_bytes: of an upload.
        on_bug: told of an exception that nobody expected.
    """

    names: Sequence[str] = ()
    token: str | None = None
    models: Sequence[Path] = ()
    compute: Options = field(default_factory=Options)
    most_bytes: int = limits.MAX_UPLOAD_BYTES
    on_bug: Callable[[Exception], None] | None = None


class Wanted(BaseModel):
    """What is asked for: a model and exactly one of scale and spacing."""

    model_config = ConfigDict(extra="forbid")

    model: Word = "auto"
    modality: Modality = ""
    scale: Word | None = None
    spacing: Word | None = None

    @property
    def target(self) -> Target:
        return Target.of(scale=self.scale, spacing=self.spacing)


class Ordered(Wanted):
    """A whole series to be done."""

    series: int


class Looked(Wanted):
    """A part of a slice, in input pixels."""

    top: Edge = 0.0
    bottom: Edge = float(limits.MAX_SIDE)
    left: Edge = 0.0
    right: Edge = float(limits.MAX_SIDE)
    moving: bool = False
    finest: Annotated[float, Field(gt=0, le=limits.MAX_SCALE, allow_inf_nan=False)] = limits.MAX_SCALE
    difference: bool = False


class Shown(BaseModel):
    """The token of a browser that opened the printed address."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(max_length=200)]


def create_app(service: Service = Service()) -> Guard:
    """The application, guarded, ready for an ASGI server; it lets its files go when the server ends."""
    live, jobs = Live(service.compute), Jobs()

    def forget(study: str) -> None:
        jobs.forget(study)
        live.forget(study)

    desk = Desk(forget)
    offered = _offered(service.models)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_swept(desk))
        try:
            yield
        finally:
            sweeping.cancel()
            await run_in_threadpool(jobs.close)
            live.close()
            desk.close()

    # No generated documentation: its pages load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(app, service.names, service.token, service.on_bug)

    def place(study: str, series: int, k: int, modality: str) -> Place:
        return Place(desk.study(study), series, modality, k)

    def known(model: str) -> str:
        if model not in offered:
            raise UsageError(
                "no-such-model", "The page does not offer this model.", "Choose one of its list."
            )
        return offered[model]

    @app.exception_handler(MesrError)
    async def expected(_: Request, error: MesrError) -> Response:
        return JSONResponse(body_of(error), status_of(error))

    @app.exception_handler(MemoryError)
    async def too_much(_: Request, __: MemoryError) -> Response:
        error = OutOfMemory()
        return JSONResponse(body_of(error), status_of(error))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, bug: Exception) -> Response:
        # The guard is told of it as well, and logs what it was.
        error = InternalError(bug)
        return JSONResponse(body_of(error), status_of(error))

    @app.exception_handler(RequestValidationError)
    async def misunderstood(_: Request, __: RequestValidationError) -> Response:
        # Its own text quotes what was sent.
        error = UsageError("request", "The request is not one that the page makes.")
        return JSONResponse(body_of(error), status_of(error))

    @app.get("/")
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.post("/api/session")
    async def admit(shown: Shown, request: Request) -> Response:
        if not guard.admits(shown.token):
            raise UsageError(
                "token", "The token is not this run's.", "Open the whole address that was printed."
            )
        answer = Response(status_code=204)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            cookie_of(request.scope), shown.token, httponly=True, samesite="strict", secure=secure
        )
        return answer

    @app.get("/api/about")
    async def about() -> dict[str, Any]:
        return {
            "version": __version__,
            "models": await run_in_threadpool(answers.of_models, offered),
            "most_bytes": service.most_bytes,
            "most_files": limits.MAX_UPLOAD_FILES,
        }

    @app.post("/api/studies")
    async def upload(request: Request) -> dict[str, Any]:
        if int(request.headers.get("content-length") or 0) > service.most_bytes:
            raise TooLarge("upload-too-large", "The files are more than the page takes at once.")
        name, folder = await run_in_threadpool(desk.reserve)
        try:
            places = await uploads.receive(
                request.stream(),
                request.headers.get("content-type", ""),
                folder,
                most_bytes=service.most_bytes,
            )
            study = await run_in_threadpool(desk.add, name, folder, places)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return answers.of_study(study)

    @app.delete("/api/studies/{study}")
    async def remove(study: str) -> Response:
        await run_in_threadpool(desk.remove, study)
        return Response(status_code=204)

    @app.get("/api/studies/{study}/series/{series}")
    async def series_of(study: str, series: int, modality: Modality = "") -> dict[str, Any]:
        at = place(study, series, 0, modality)
        return await live.read(lambda: answers.of_series(at))

    @app.get("/api/studies/{study}/series/{series}/slices/{k}")
    async def source(study: str, series: int, k: int, modality: Modality = "") -> Response:
        at = place(study, series, k, modality)
        return _framed(await live.read(lambda: live.source(at)))

    @app.get("/api/studies/{study}/series/{series}/slices/{k}/result")
    async def result(study: str, series: int, k: int, asked: Annotated[Looked, Query()]) -> Response:
        at, model = place(study, series, k, asked.modality), known(asked.model)
        view = View(asked.top, asked.bottom, asked.left, asked.right)
        frame = await live.compute(
            lambda: live.result(
                at,
                asked.target,
                model,
                view,
                moving=asked.moving,
                finest=asked.finest,
                difference=asked.difference,
            )
        )
        return _framed(frame)

    @app.get("/api/studies/{study}/series/{series}/plan")
    async def plan(study: str, series: int, asked: Annotated[Wanted, Query()]) -> dict[str, Any]:
        at, model = place(study, series, 0, asked.modality), known(asked.model)
        planned = await live.read(lambda: live.planned(at, asked.target, model))
        assert planned.derivation is not None
        return {
            "model": planned.derivation.model,
            "size": planned.geometry.size,
            "spacing": planned.spacing if planned.geometry.known else None,
            "scale": planned.derivation.grid.scale[1:],
            "notes": answers.of_notes(planned.notes),
        }

    @app.get("/api/studies/{study}/series/{series}/volume")
    async def volume(study: str, series: int) -> Response:
        held = desk.study(study)
        path = held.folder / f"series-{series}.nii.gz"
        await live.read(lambda: downloads.shown(held.volume(series), path))
        return FileResponse(path, media_type="application/gzip")

    @app.post("/api/studies/{study}/jobs")
    async def order(study: str, ordered: Ordered) -> dict[str, Any]:
        held, model = desk.study(study), known(ordered.model)
        format = "dicom" if held.item(ordered.series).format == "dicom" else "nifti"
        settings = Settings(model, ordered.modality or None, format, compute=service.compute)
        work = await run_in_threadpool(jobs.submit, held, ordered.series, ordered.target, settings)
        return answers.of_work(work)

    @app.get("/api/jobs/{name}")
    async def progress(name: str) -> dict[str, Any]:
        work = jobs.work(name)
        desk.study(work.study.id)
        return answers.of_work(work)

    @app.post("/api/jobs/{name}/stop")
    async def stop(name: str) -> dict[str, Any]:
        jobs.stop(name)
        return answers.of_work(jobs.work(name))

    @app.delete("/api/jobs/{name}")
    async def let_go(name: str) -> Response:
        await run_in_threadpool(jobs.remove, name)
        return Response(status_code=204)

    @app.get("/api/jobs/{name}/{kind}")
    async def download(name: str, kind: downloads.Kind) -> Response:
        work = jobs.work(name)
        path = await run_in_threadpool(downloads.made, work, kind)
        media = "application/zip" if kind == "dicom" else "application/gzip"
        return FileResponse(path, media_type=media, filename=downloads.name_of(work, kind))

    app.mount("/static", StaticFiles(directory=STATIC), "static")
    return guard


async def _swept(desk: Desk) -> None:
    """Let studies go that nobody asks about, as long as the server lives."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await run_in_threadpool(desk.sweep)


def _offered(files: Sequence[Path]) -> dict[str, str]:
    """What may be asked for, and what loads it: a browser never names a path.

    Raises:
        WeightsError: one of the files is no weights file.
    """
    given = {weights.read_card(path).name: str(path) for path in files}
    names = ("auto", *weights.shipped(), *weights.untrained())
    return {name: name for name in names} | given


def _framed(frame: Frame) -> Response:
    headers = {"x-mesr-frame": json.dumps(frame.about, separators=(",", ":"))}
    return Response(frame.body, media_type="application/octet-stream", headers=headers)
