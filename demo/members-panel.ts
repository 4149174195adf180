/** The members as a list; the drawing of the same is in `mesh-drawing.ts`. Rows are kept and changed, not made anew. */
import type { ClusterStatus, Member } from '../src/database/types.ts'
import { el, part, setData, setText } from './dom.ts'
import { formatCount, formatMs, shortId } from './format.ts'
import { drawMesh } from './mesh-drawing.ts'

export interface MembersPanel {
  update(members: readonly Member[], status: ClusterStatus | undefined): void
}

interface Row {
  readonly item: HTMLLIElement
  readonly name: HTMLElement
  readonly note: HTMLElement
  readonly rank: HTMLElement
  readonly link: HTMLElement
  readonly hand: HTMLButtonElement
}

export function createMembersPanel(handOver: (id: string) => void): MembersPanel {
  const list = part('members', HTMLUListElement)
  const count = part('member-count', HTMLElement)
  const mesh = part('mesh', SVGSVGElement)
  const rows = new Map<string, Row>()
  let drawn = ''

  const makeRow = (id: string): Row => {
    const name = el('span', { class: 'member-id mono', title: id }, shortId(id))
    const note = el('span', { class: 'member-note' })
    const rank = el('span', { class: 'badge' })
    const link = el('span', { class: 'member-link' })
    const hand = el('button', { type: 'button', class: 'small', 'data-testid': 'make-leader' }, 'Make leader')
    hand.setAttribute('aria-label', `Make ${shortId(id)} the leader`)
    hand.addEventListener('click', () => handOver(id))
    const item = el('li', { 'data-testid': 'member', 'data-id': id })
    item.append(el('span', { class: 'member-dot', 'aria-hidden': 'true' }), name, note, rank, link, hand)
    return { item, name, note, rank, link, hand }
  }

  return {
    update(members, status) {
      const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1))
      for (const [id, row] of rows) {
        if (sorted.some(member => member.id === id)) continue
        row.item.remove()
        rows.delete(id)
      }
      sorted.forEach((member, i) => {
        const row = rows.get(member.id) ?? makeRow(member.id)
        rows.set(member.id, row)
        if (list.children[i] !== row.item) list.insertBefore(row.item, list.children[i] ?? null)
        showRow(row, member, status)
      })
      setText(count, summary(sorted))
      setData(count, 'cluster', status?.clusterId ?? '')
      const picture = JSON.stringify(sorted.map(m => [m.id, m.role, m.state, m.kind, m.leader, rttText(m)]))
      if (picture !== drawn) drawMesh(mesh, sorted)
      drawn = picture
    },
  }
}

function showRow(row: Row, member: Member, status: ClusterStatus | undefined): void {
  const { item } = row
  setData(item, 'role', member.role)
  setData(item, 'leader', String(member.leader))
  setData(item, 'state', member.state)
  setData(item, 'kind', member.kind)
  setText(
    row.note,
    member.self ? 'this tab' : member.kind === 'node' ? 'Node' : member.kind === 'tab' ? 'tab' : 'unknown',
  )
  const rank = member.leader ? 'leader' : member.role
  setText(row.rank, rank)
  setData(row.rank, 'role', rank)
  setText(row.link, linkText(member, status))
  row.hand.hidden = !(
    status?.role === 'leader' &&
    !member.self &&
    member.role === 'voter' &&
    member.state === 'connected'
  )
}

function linkText(member: Member, status: ClusterStatus | undefined): string {
  if (member.state === 'unreachable') return 'unreachable'
  if (member.state === 'connecting') return 'connecting'
  const behind =
    member.matchIndex === undefined || status === undefined ? 0 : Math.max(0, status.lastIndex - member.matchIndex)
  if (behind > 0 && !member.self) return `${formatCount(behind)} behind`
  return member.self ? '' : rttText(member) || 'connected'
}

export const rttText = (member: Member): string => (member.rttMs === undefined ? '' : formatMs(member.rttMs))

function summary(members: readonly Member[]): string {
  if (members.length === 0) return 'no members yet'
  const voters = members.filter(member => member.role === 'voter').length
  const learners = members.length - voters
  const many = members.length === 1 ? '1 member' : `${members.length} members`
  const quorum = `${Math.floor(voters / 2) + 1} of ${voters} voters make a quorum`
  return learners === 0 ? `${many}, ${quorum}` : `${many}, ${quorum}, ${learners} learning`
}
