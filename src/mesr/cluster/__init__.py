"""Studies spread over the machines of a Ray cluster: the same results in the same places as one machine writes.

Ray Data hands every study to the first worker that is free, keeps the others waiting, and hands it out again where a
worker is lost. What a study is and what became of it are plain values (`work`, `fates`), so that only `engine` knows
Ray; `journal` makes each study count once, whatever dies.
"""
