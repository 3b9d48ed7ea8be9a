"""The whole cloud on a laptop: the real ``template.yaml``, deployed into MiniStack, without Docker.

``stack.Stack`` is what commands use. Below it: ``emulator`` (the process), ``deployment`` (template
-> running stack), ``packaging`` (one function's folder) and, inside the emulator's process,
``server`` and ``amendments`` (what MiniStack lacks, one function per gap).
"""
