"""The documentation: pages in Markdown, and what makes a site of them, ``python -m docs FOLDER``.

Sphinx with MyST and furo, since November 2026: it fails at a link or an anchor that leads nowhere, searches without a
server, asks no other machine for anything, and reads the Markdown that a forge shows. mkdocs has had no release since
August 2024, mkdocs-material reached its end of life on 2026-11-05, zensical is a beta that changes every few days and
reads another Markdown, pdoc makes references only.
"""
