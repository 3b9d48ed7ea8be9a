"""How a report looks, by day, by night and on a phone, and the script that sorts its table."""

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--ink:#1b2230;--soft:#566073;--line:#d9dee7;--ground:#fff;--card:#f6f8fb;
--usual:#aab4c3;--usual-edge:#7c889b;--now:#1d5fd1;--bad:#b3261e;--fine:#1f6b45;--warn:#8a5a00;
--heat1:#dbe7fb;--heat2:#9dbff2;--heat3:#f0a08a;--heat4:#c4412f}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebf2;--soft:#9fabbd;--line:#303a4a;--ground:#12161d;--card:#1a202a;
--usual:#4a566a;--usual-edge:#7f8da3;--now:#7fb0ff;--bad:#ff8f86;--fine:#7fd1a6;--warn:#e7b75f;
--heat1:#1d2c46;--heat2:#2f5391;--heat3:#a5523f;--heat4:#ea6f5b}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem 1.2rem 4rem;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.45rem;margin:.3rem 0;overflow-wrap:anywhere}h2{font-size:1.12rem;margin:2.2rem 0 .6rem}
h3{font-size:.98rem;margin:0;overflow-wrap:anywhere}p{margin:.3rem 0}.soft{color:var(--soft)}
.say{font-size:1.05rem;margin:.8rem 0;padding:.7rem .9rem;border-left:4px solid var(--fine);background:var(--card)}
.say.bad{border-color:var(--bad)}.bad b,b.bad,td.bad{color:var(--bad)}.warn{color:var(--warn)}
.facts{display:flex;flex-wrap:wrap;gap:.2rem 1.6rem;margin:.4rem 0;padding:0;list-style:none;color:var(--soft)}
.facts b{color:var(--ink);font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.32rem .6rem .32rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}td.w{white-space:nowrap}td.t{overflow-wrap:anywhere;min-width:14rem}
th button{all:unset;cursor:pointer;font-weight:600}th button:hover{text-decoration:underline}
th button:focus-visible{outline:2px solid var(--now)}th[aria-sort=descending] button::after{content:" \\2193"}
th[aria-sort=ascending] button::after{content:" \\2191"}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;color:var(--soft);font-size:.88rem;margin:.3rem 0}
.key i{display:inline-block;width:1rem;height:.7rem;margin-right:.35rem;border-radius:2px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:.9rem;align-items:start}
article{border:1px solid var(--line);border-radius:.5rem;padding:.7rem .8rem;background:var(--card);min-width:0}
article.bad{border-color:var(--bad)}article header{display:flex;justify-content:space-between;gap:.6rem}
article header span{white-space:nowrap;font-size:.85rem}article p{font-size:.88rem;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto;margin:.5rem 0 .2rem}svg text{fill:var(--soft);font-size:11px}
.line{display:flex}.line>svg{flex:none}.latest{overflow-x:auto;direction:rtl}svg.fixed{width:auto;margin:0;direction:ltr}
.u{fill:var(--usual);fill-opacity:.75;stroke:var(--usual-edge);stroke-width:.8}.l{fill:none;stroke:var(--now);stroke-width:1.8}
.b{fill:var(--now)}.h0{fill:var(--card);stroke:var(--line);stroke-width:.5}.h1{fill:var(--heat1)}.h2{fill:var(--heat2)}
.h3{fill:var(--heat3)}.h4{fill:var(--heat4)}
article table{font-size:.82rem}article td,article th{padding:.12rem .4rem .12rem 0;font-weight:400}
article th{color:var(--soft)}
@media(max-width:40rem){body{padding:.7rem .8rem 3rem}.stack thead{display:none}
.stack tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}
.stack td{display:flex;gap:.7rem;border:0;padding:.08rem 0;text-align:left;white-space:normal;min-width:0}
.stack td:empty{display:none}.stack td::before{content:attr(data-name);flex:0 0 6.5rem;color:var(--soft)}}
@media print{.cards{display:block}article{break-inside:avoid;margin-bottom:.6rem}}
"""

SCRIPT = """
document.querySelectorAll('th button').forEach(button => button.addEventListener('click', () => {
  const head = button.closest('th'), body = head.closest('table').tBodies[0]
  const place = [...head.parentNode.children].indexOf(head)
  const down = head.getAttribute('aria-sort') !== 'descending'
  const key = row => { const cell = row.children[place]; return cell.dataset.key ?? cell.textContent }
  const compare = (a, b) => {
    const x = key(a), y = key(b), numbers = x !== '' && y !== '' && !isNaN(x) && !isNaN(y)
    return numbers ? x - y : x.localeCompare(y)
  }
  for (const one of head.parentNode.children) one.removeAttribute('aria-sort')
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending')
  body.append(...[...body.rows].sort((a, b) => down ? compare(b, a) : compare(a, b)))
}))
"""

SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
"""By which the page allows that script and nothing else."""
