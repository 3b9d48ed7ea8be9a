"""How a card's page looks, which the console's pages begin with."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem;margin:0 .6rem 0 0;display:inline-block;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}a{color:inherit}
.badge{display:inline-block;border:1px solid #2f6f4f;color:#1f5c3f;border-radius:1rem;padding:0 .6rem;
margin:.2rem .3rem .2rem 0;font-size:.85rem;white-space:nowrap}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #dde2ea;vertical-align:top}
td:first-child code{white-space:nowrap}.places{font-size:.85rem;margin:.6rem 0 0}.places a{margin-right:.7rem}
td.n,th.n{padding-right:1.6rem;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.2rem 1rem;margin:.5rem 0}
dt{color:#586274}dd{margin:0;overflow-wrap:anywhere}
code{font-size:.85em;overflow-wrap:anywhere}pre{overflow-x:auto;background:#f4f6f9;padding:.6rem}
.note{color:#586274;font-size:.85rem}.carried{border-left:4px solid #b7791f;padding-left:.8rem}
.carried .note{color:#8a5a00}.bad{color:#a4161a;font-weight:600}.good{color:#1f5c3f}
footer{margin-top:3rem;color:#586274;font-size:.8rem;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#12161d;color:#dfe5ee}td,th{border-color:#2b3442}
pre{background:#1b212b}dt,.note,footer{color:#9aa5b5}.badge{border-color:#5fae86;color:#8fd3b0}.good{color:#8fd3b0}
.bad{color:#ff8f8f}.carried{border-color:#d69e2e}.carried .note{color:#e7b75f}}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
"""
