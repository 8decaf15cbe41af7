"""The page: a local web server that upscales studies and shows before and after while a scale is chosen.

    app        the routes
    security   who may ask, and what a browser may do with the answers
    uploads    a request's files, streamed into a private folder
    session    the studies that are held, and when they go
    live       slices for the screen: encoded once, decoded as the slider moves
    jobs       whole studies, through `mesr.job.run`
    downloads  a result as a DICOM zip or as NIfTI
    server     a socket and uvicorn

The browser's side is in `static/`: plain modules without a framework, and NiiVue in `static/vendor`, which
`make web` brings and the wheel carries. Needs the extra `web`; nothing outside this package imports it.
"""
