/**
 * The mesh as a drawing. Peers stand on an ellipse in the order of their ids, so that all tabs draw the same picture; the lines from
 * this tab carry its measured round-trip times, the hairlines between the others stand for links that only they know.
 */
import type { Member } from '../src/database/types.ts'
import { svg } from './dom.ts'
import { formatMs, shortId } from './format.ts'

interface Point {
  readonly x: number
  readonly y: number
}

const width = 400
const height = 330
const middle: Point = { x: width / 2, y: height / 2 - 1 }

export function drawMesh(target: SVGSVGElement, members: readonly Member[]): void {
  const places = new Map(members.map((member, i) => [member.id, place(i, members.length)] as const))
  const self = members.find(member => member.self)
  const radius = members.length > 7 ? 10 : 15
  const lines: SVGElement[] = []
  const labels: SVGElement[] = []
  members.forEach((member, i) => {
    for (const other of members.slice(i + 1)) {
      const from = places.get(member.id)!
      const to = places.get(other.id)!
      if (!member.self && !other.self) {
        if (isHere(member) && isHere(other)) lines.push(line(from, to, 'mesh-hair'))
        continue
      }
      const remote = member.self ? other : member
      lines.push(line(from, to, `mesh-link mesh-${remote.state}`))
    }
  })
  const crowded = members.length > 7
  for (const member of members) {
    if (self === undefined || member.self) continue
    const from = places.get(self.id)!
    const to = places.get(member.id)!
    const label = linkLabel(member, crowded)
    // On a short line the label would cover the nodes.
    if (label === '' || Math.hypot(to.x - from.x, to.y - from.y) < (crowded ? 130 : 90)) continue
    const at = between(from, to, crowded ? 0.68 : 0.5)
    labels.push(svg('text', { class: 'mesh-rtt', x: at.x, y: at.y + 4 }, label))
  }
  const nodes = members.map(member => node(member, places.get(member.id)!, radius))
  if (members.length === 1)
    labels.push(svg('text', { class: 'mesh-rtt', x: middle.x, y: middle.y + 62 }, 'alone for now: open another tab'))
  target.replaceChildren(...lines, ...nodes, ...labels)
  target.setAttribute('aria-label', summary(members))
}

function place(i: number, count: number): Point {
  if (count === 1) return middle
  const angle = (i / count) * 2 * Math.PI - Math.PI / 2 + (count === 2 ? -Math.PI / 2 : count === 4 ? Math.PI / 4 : 0)
  // Four in the corners stand further out, or they would crowd the middle.
  const [wide, high] = count === 4 ? [185, 145] : [148, 112]
  return { x: middle.x + Math.cos(angle) * wide, y: middle.y + Math.sin(angle) * high }
}

function node(member: Member, at: Point, radius: number): SVGElement {
  const marks: SVGElement[] = []
  if (member.leader) marks.push(shape(member, at, radius + 5, 'mesh-ring'))
  marks.push(shape(member, at, radius, 'mesh-body'))
  const nameY = at.y < middle.y - 1 ? at.y - radius - 11 : at.y + radius + 20
  const name = svg('text', { class: 'mesh-name', x: at.x, y: nameY }, member.self ? 'this tab' : shortId(member.id))
  const title = svg('title', {}, `${member.id}: ${member.leader ? 'leader' : member.role}, ${member.state}`)
  return svg('g', { class: `mesh-node mesh-node-${member.state}`, 'data-role': member.role }, title, ...marks, name)
}

/** Tabs are round, Node processes are square. */
function shape(member: Member, at: Point, radius: number, name: string): SVGElement {
  if (member.kind !== 'node') return svg('circle', { class: name, cx: at.x, cy: at.y, r: radius })
  const side = radius * 1.8
  return svg('rect', { class: name, x: at.x - side / 2, y: at.y - side / 2, width: side, height: side, rx: 5 })
}

const line = (from: Point, to: Point, name: string): SVGElement =>
  svg('line', { class: name, x1: from.x, y1: from.y, x2: to.x, y2: to.y })

const between = (a: Point, b: Point, t: number): Point => ({ x: a.x + (b.x - a.x) * t, y: a.y + (b.y - a.y) * t })

const isHere = (member: Member): boolean => member.state === 'connected'

function linkLabel(member: Member, crowded: boolean): string {
  if (member.state === 'unreachable') return crowded ? '' : 'no answer'
  return member.rttMs === undefined ? '' : formatMs(member.rttMs)
}

function summary(members: readonly Member[]): string {
  const leader = members.find(member => member.leader)
  const reached = members.filter(isHere).length
  const lead = leader === undefined ? 'no leader' : `led by ${leader.self ? 'this tab' : shortId(leader.id)}`
  return `${members.length} members, ${lead}, this tab is linked to ${reached} of ${Math.max(0, members.length - 1)} others`
}
