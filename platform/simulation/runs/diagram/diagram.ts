/**
 * A space-time diagram of a run, from the lines of its trace (`platform/simulation/trace.ts`): one HTML file that needs nothing else, neither network nor server. A pure function of the lines and the stretch of
 * time, of bounded size: at most so many messages, and beside them no more than happens between them.
 */
import type { TraceLine } from '../../trace.ts'
import { columnPx, columnX, drawing, widthPx } from './drawing.ts'
import { escaped } from './labels.ts'
import { type Scene, sceneOf } from './model.ts'
import { script, style } from './page-parts.ts'
import { LineWindow, type Span } from './window.ts'

/** Some 700 bytes each. */
const messagesMax = 6000

export function diagram(lines: Iterable<TraceLine>, span: Span, title: string): string {
  const window = new LineWindow(span)
  for (const line of lines) window.add(line)
  return page(window, title)
}

/** For lines that are not kept: see `LineWindow`. */
export function page(window: LineWindow, title: string): string {
  const { lines } = window
  let { span } = window
  let scene = sceneOf(lines, span)
  const note: string[] = []
  const tooMany = scene.passages[messagesMax]
  if (tooMany !== undefined) {
    span = { fromMs: span.fromMs, toMs: Math.max(tooMany.sentMs, span.fromMs + 1) }
    scene = sceneOf(lines, span)
    scene = { ...scene, passages: scene.passages.slice(0, messagesMax) }
    note.push(`cut there: more than ${messagesMax} messages`)
  }
  const stretch = `${(span.fromMs / 1000).toFixed(3)} s to ${(span.toMs / 1000).toFixed(3)} s of virtual time`
  const width = widthPx(scene.lives.length)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${style}</style>
<body class="no-heartbeat">
<header>
<h1>${escaped(title)}</h1>
<p>${[stretch, ...note].map(escaped).join('; ')}. Time goes down; busy moments are drawn larger than quiet ones.</p>
${violationList(scene)}
<div class="controls">${controls()}</div>
<div class="legend">${legend}</div>
</header>
<div class="names" style="width:${width}px"><span style="left:8px">time (s)</span><span style="left:66px">faults</span>${scene.lives
    .map(
      ({ peer }, column) =>
        `<b style="left:${columnX(column) - columnPx / 2}px;width:${columnPx}px">${escaped(peer)}</b>`,
    )
    .join('')}</div>
<main>${drawing(scene, span)}</main>
<footer>point at anything to read about it</footer>
<script>${script}</script>
</body>
</html>
`
}

function violationList({ violations }: Scene): string {
  if (violations.length === 0) return '<p class="clean">No promise is broken in this stretch.</p>'
  const items = violations.map(
    ({ ms, what }, nth) => `<li><a href="#violation-${nth}">${(ms / 1000).toFixed(3)} s</a> ${escaped(what)}</li>`,
  )
  return `<ul class="broken">${items.join('')}</ul>`
}

const controls = (): string =>
  [
    ['heartbeat', 'heartbeats', ''],
    ['append', 'appends', 'checked'],
    ['appendReply', 'answers to appends', 'checked'],
    ['readIndex', 'reads', 'checked'],
    ['call', 'clients', 'checked'],
    ['commit', 'commits', 'checked'],
  ]
    .map(([name, text, checked]) => `<label><input type="checkbox" data-what="${name}" ${checked}> ${text}</label>`)
    .join(' ')

const legend = [
  ['follower', 'follower'],
  ['preCandidate', 'asks whether it could win'],
  ['candidate', 'candidate'],
  ['leader', 'leader'],
]
  .map(([role, text]) => `<span><i class="swatch ${role}"></i>${text}</span>`)
  .concat(
    '<span><i class="swatch term"></i>narrow stripe: a colour for each term</span>',
    '<span class="key append">→ append</span><span class="key appendReply">→ answer</span><span class="key readIndex">→ read</span><span class="key vote">→ vote</span><span class="key rare">→ other</span><span class="key heartbeat">→ heartbeat</span>',
    '<span>dashed: a refusal</span><span class="key lost">✕ never received</span>',
    '<span><i class="swatch ok"></i>call answered</span><span><i class="swatch fail"></i>refused</span><span><i class="swatch info"></i>unknown</span>',
    '<span>✓41: knows that 41 is committed</span><span>◆ configuration</span><span>● start, received state, cut log</span>',
    '<span><i class="swatch cut"></i>cut off</span><span><i class="swatch freeze"></i>frozen</span><span><i class="swatch disk"></i>disk full</span><span><i class="swatch clock"></i>clock, timers</span>',
  )
  .join('')
