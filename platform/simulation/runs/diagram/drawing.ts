/** A scene as SVG: time goes down, a column for each peer, messages across. Every text that comes from a run is escaped. */
import { messageInWords } from '../words.ts'
import { escaped, Labels, place as n } from './labels.ts'
import type { Passage } from './matching.ts'
import type { Call, FaultSpan, Life, Mark, Scene } from './model.ts'
import { TimeScale } from './scale.ts'
import type { Span } from './window.ts'

export const axisPx = 250
export const columnPx = 210
const lanePx = 12
/** Where the bars of faults stand, and how many beside each other. */
const barsPx = 66
const tracksMax = 8
const topPx = 14
const bottomPx = 40

export const columnX = (column: number): number => axisPx + columnPx * (column + 0.5)
export const widthPx = (peers: number): number => axisPx + columnPx * peers + 110

const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)} s`
const titled = (tag: string, title: string): string => `<g class="${escaped(tag)}"><title>${escaped(title)}</title>`

const isSignOfLife = (type: string): boolean => type.startsWith('heartbeat') || type === 'rest' || type === 'wake'

/** Of a message: what the style and the checkboxes know it by. */
export function classOf({ type, entries, granted, ok }: Passage['message']): string {
  const refused = granted === false || ok === false ? ' refused' : ''
  if (isSignOfLife(type)) return 'heartbeat'
  if (type.startsWith('readIndex')) return 'readIndex'
  if (type === 'append') return `append${entries?.length === 0 ? ' empty' : ''}`
  if (type === 'appendReply') return `appendReply${refused}`
  if (type.startsWith('preVote') || type.startsWith('vote')) return `vote${refused}`
  return 'rare'
}

export function drawing(scene: Scene, span: Span): string {
  const { lives, faults, violations } = scene
  const columns = new Map(lives.map(({ peer }, column) => [peer, columnX(column)]))
  const scale = new TimeScale(span, momentsOf(scene))
  const at = (ms: number): number => topPx + scale.at(ms)
  const width = widthPx(lives.length)
  const height = topPx + scale.heightPx + bottomPx
  const labels = new Labels()
  // In the order of their importance: what comes first has the choice of place.
  const broken = violations.map((violation, nth) => violationMark(violation, nth, width, columns, at, labels))
  const lanes = lives.map(life => lane(life, columns.get(life.peer)!, span, at, labels))
  const bands = faultBands(faults, columns, span, at, labels)
  const rare = lives.map(life => marks(life, columns.get(life.peer)!, at, labels, kind => kind !== 'commit'))
  const arrows = scene.passages.map(passage => arrow(passage, columns, span, at, labels))
  const clients = lives.map(life => calls(life.calls, columns.get(life.peer)!, span, at, labels))
  const commits = lives.map(life => marks(life, columns.get(life.peer)!, at, labels, kind => kind === 'commit'))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${n(height)}" viewBox="0 0 ${width} ${n(height)}">`,
    markers,
    ...scale.ticks(40).map(({ ms, y }) => tick(ms, topPx + y, width)),
    ...[bands, arrows, lanes, commits, rare, clients, broken].map(parts => parts.flat().join('\n')),
    '</svg>',
  ].join('\n')
}

const breaksNamedMax = 3

function violationMark(
  { ms, what, peer }: Scene['violations'][number],
  nth: number,
  width: number,
  columns: ReadonlyMap<string, number>,
  at: (ms: number) => number,
  labels: Labels,
): string {
  const x = peer === undefined ? undefined : columns.get(peer)
  const y = n(at(ms))
  return [
    titled('violation', `${seconds(ms)} BROKEN: ${what}`),
    `<line id="violation-${nth}" x1="0" x2="${width}" y1="${y}" y2="${y}"/>`,
    x === undefined ? '' : `<circle cx="${n(x)}" cy="${y}" r="10"/>`,
    nth >= breaksNamedMax ? '' : labels.text(`✖ ${what.slice(0, 150)}`, 66, at(ms) - 9, 'start', [0, 20, 34, 48]),
    '</g>',
  ].join('')
}

function* momentsOf({ passages, lives, faults, violations }: Scene): Generator<number> {
  for (const { message, sentMs, receivedMs } of passages) {
    if (isSignOfLife(message.type)) continue
    yield sentMs
    if (receivedMs !== undefined) yield receivedMs
  }
  for (const { stretches, marks, calls } of lives) {
    for (const { fromMs } of stretches) yield fromMs
    for (const { ms } of marks) yield ms
    for (const { fromMs, toMs } of calls) yield* [fromMs, toMs]
  }
  for (const { fromMs, toMs } of faults) yield* [fromMs, toMs]
  for (const { ms } of violations) yield ms
}

const kinds = ['append', 'appendReply', 'heartbeat', 'readIndex', 'vote', 'rare']
const markers = `<defs>${kinds
  .map(
    kind =>
      `<marker id="to-${kind}" class="${kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.5 L8 4 L0 7.5 Z"/></marker>`,
  )
  .join('')}</defs>`

const tick = (ms: number, y: number, width: number): string =>
  `<g class="tick"><line x1="58" x2="${width}" y1="${n(y)}" y2="${n(y)}"/><text x="54" y="${n(y + 3.5)}">${(ms / 1000).toFixed(3)}</text></g>`

const familyOf = (kind: string): string => {
  if (['partition', 'isolate', 'one-way', 'reset-links'].includes(kind)) return 'cut'
  if (kind.startsWith('crash')) return 'crash'
  if (kind.startsWith('clock') || kind === 'throttle') return 'clock'
  if (kind.startsWith('disk')) return 'disk'
  return kind
}

/** A bar with its name beside the axis; behind whom it concerns, a band. */
function faultBands(
  faults: readonly FaultSpan[],
  columns: ReadonlyMap<string, number>,
  span: Span,
  at: (ms: number) => number,
  labels: Labels,
): string[] {
  const ends: number[] = []
  const tracks = faults.map(({ fromMs, toMs }) => {
    const y = at(Math.max(fromMs, span.fromMs))
    const free = ends.findIndex(end => end <= y)
    const track = free === -1 ? ends.length : free
    ends[track] = Math.max(y + 5, at(toMs) + 2)
    return track
  })
  const labelX = barsPx + Math.min(tracksMax, ends.length) * 7 + 3
  return faults.map(({ kind, peers, text, fromMs, toMs }, nth) => {
    const y = at(Math.max(fromMs, span.fromMs))
    const height = Math.max(3, at(toMs) - y)
    const family = familyOf(kind)
    const isLong = kind !== 'heal' && family !== 'crash' && toMs > fromMs
    const bands = (isLong ? peers : []).map(peer => {
      const middle = columns.get(peer)
      if (middle === undefined) return ''
      return `<rect class="band" x="${n(middle - columnPx * 0.47)}" y="${n(y)}" width="${n(columnPx * 0.94)}" height="${n(height)}"/>`
    })
    const over = toMs > fromMs ? `; over at ${seconds(toMs)}` : ''
    return [
      titled(`fault ${family}`, `${seconds(fromMs)} ${text}${over}`),
      ...bands,
      `<rect class="bar" x="${barsPx + Math.min(tracksMax, tracks[nth]!) * 7}" y="${n(y)}" width="5" height="${n(height)}"/>`,
      labels.text(text.slice(0, 36), labelX, y + 5, 'start', [0, 12]),
      '</g>',
    ].join('')
  })
}

function lane({ stretches }: Life, x: number, span: Span, at: (ms: number) => number, labels: Labels): string[] {
  const parts: string[] = []
  for (const { fromMs, toMs, role, term, text } of stretches) {
    const y = at(Math.max(fromMs, span.fromMs))
    const height = Math.max(1, at(toMs) - y)
    parts.push(titled(`stretch ${role}`, `from ${seconds(fromMs)} to ${seconds(toMs)}: ${text}`))
    if (role === 'down') parts.push(`<line x1="${n(x)}" x2="${n(x)}" y1="${n(y)}" y2="${n(y + height)}"/>`)
    else {
      parts.push(`<rect x="${n(x - lanePx / 2)}" y="${n(y)}" width="${lanePx}" height="${n(height)}"/>`)
      if (role !== 'starting')
        parts.push(
          `<rect class="term" style="fill:hsl(${(term * 137) % 360} 65% 60%)" x="${n(x + lanePx / 2)}" y="${n(y)}" width="5" height="${n(height)}"/>`,
        )
    }
    const label = role === 'down' ? 'down' : role === 'starting' ? '' : `${role} t${term}`
    if (label !== '') parts.push(labels.text(label, x + 15, y + 6, 'start', [0, 6, 12]))
    parts.push('</g>')
  }
  return parts
}

function marks(
  { marks: all }: Life,
  x: number,
  at: (ms: number) => number,
  labels: Labels,
  which: (kind: Mark['kind']) => boolean,
): string[] {
  return all
    .filter(({ kind }) => which(kind))
    .map(({ ms, kind, label, text }) => {
      const y = at(ms)
      const head = titled(`mark ${kind}`, `${seconds(ms)} ${text}`)
      if (kind === 'commit') {
        const named = labels.text(`✓${label}`, x + 15, y)
        return `${head}<line x1="${n(x - 6)}" x2="${n(x + 11)}" y1="${n(y)}" y2="${n(y)}"/>${named}</g>`
      }
      return `${head}${shapeOf(kind, x, y)}${labels.text(label.slice(0, 44), x + 15, y + 4, 'start', [0, 7, 14, 21])}</g>`
    })
}

function shapeOf(kind: Mark['kind'], x: number, y: number): string {
  if (kind === 'crash') return `<path d="M${n(x - 8)} ${n(y - 8)} l16 16 m0 -16 l-16 16"/>`
  if (kind === 'configuration') return `<path d="M${n(x)} ${n(y - 6)} l6 6 l-6 6 l-6 -6 Z"/>`
  return `<circle cx="${n(x)}" cy="${n(y)}" r="5"/>`
}

/** Beside the line of the peer whose client it is, overlapping ones beside each other. */
function calls(all: readonly Call[], middle: number, span: Span, at: (ms: number) => number, labels: Labels): string[] {
  const ends: number[] = []
  const ordered = [...all].sort((a, b) => a.fromMs - b.fromMs)
  const placed = ordered.map(call => {
    const y = at(Math.max(call.fromMs, span.fromMs))
    const end = Math.max(y + 3, at(call.toMs))
    const free = ends.findIndex(one => one < y)
    const track = free === -1 ? ends.length : free
    ends[track] = end
    return { ...call, y, end, x: middle - 16 - track * 6 }
  })
  const labelX = middle - 15 - ends.length * 6
  return placed.map(({ fromMs, toMs, outcome, label, text, x, y, end }) => {
    const named = labels.text(label.slice(0, 48), labelX, y + 5, 'end', [0, 8])
    const title = `${seconds(fromMs)} to ${seconds(toMs)} ${text}`
    return `${titled(`call ${outcome}`, title)}<rect x="${n(x - 2)}" y="${n(y)}" width="4" height="${n(end - y)}"/>${named}</g>`
  })
}

function arrow(
  { message, sentMs, receivedMs, isCopy }: Passage,
  columns: ReadonlyMap<string, number>,
  span: Span,
  at: (ms: number) => number,
  labels: Labels,
): string[] {
  const from = columns.get(message.from)
  const to = columns.get(message.to)
  if (from === undefined || to === undefined) return []
  const kind = classOf(message)
  const side = to > from ? 9 : -9
  const isLost = receivedMs === undefined
  const x1 = from + side + (side > 0 ? 3 : 0)
  let y1 = at(sentMs)
  let y2 = isLost ? y1 + 12 : at(receivedMs)
  let x2 = isLost ? from + (to - from) * 0.4 : to - side + (side < 0 ? 4 : 0)
  // One that comes from before the stretch, or goes on behind it, is drawn as far as it lies in it.
  if (sentMs < span.fromMs) y1 = topPx - 12
  if (!isLost && receivedMs > span.toMs) {
    y2 += 14
    x2 = (x1 + x2) / 2
  }
  const way = isLost ? 'never received' : `received ${seconds(receivedMs)}${isCopy ? ', once more' : ''}`
  const title = `${message.from} to ${message.to}: ${messageInWords(message)}\nsent ${seconds(sentMs)}, ${way}\n${JSON.stringify(message).slice(0, 600)}`
  const place = `M${n(x1)} ${n(y1)} L${n(x2)} ${n(y2)}`
  const [name] = kind.split(' ')
  const label = shortLabel(message)
  const parts = [
    titled(`message ${kind}${isLost ? ' lost' : ''}${isCopy ? ' copy' : ''}`, title),
    `<path class="reach" d="${place}"/>`,
    `<path d="${place}"${isLost ? '' : ` marker-end="url(#to-${name})"`}/>`,
    isLost ? `<path class="cross" d="M${n(x2 - 4)} ${n(y2 - 4)} l8 8 m0 -8 l-8 8"/>` : '',
    label === undefined
      ? ''
      : labels.text(label, x1 + side * 3, y1 - 5 + (y2 - y1) * 0.12, side > 0 ? 'start' : 'end', [0, 6, -6]),
    '</g>',
  ]
  return parts
}

/** Of messages that are rare and decide something. */
function shortLabel({ type, term, granted, ok, rejected, index }: Passage['message']): string | undefined {
  if (type === 'vote' || type === 'preVote') return `${type} t${term}`
  if (granted !== undefined) return granted ? `yes t${term}` : 'no'
  if (ok === false) return `refuses ${rejected}`
  if (type === 'timeoutNow') return 'take over'
  return type === 'snapshot' ? `too far behind: ${index}` : undefined
}
