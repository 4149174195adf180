/** The log: newest first, bounded, and with bursts of the same kind drawn together into one line. */
import { el, part } from './dom.ts'

export type LogKind = 'note' | 'election' | 'member' | 'link' | 'write' | 'read' | 'error'

export interface LogStrip {
  add(kind: LogKind, text: string): void
  /** As `add`, but takes the place of a recent line of the same `group` (a counter that goes up). */
  replace(group: string, kind: LogKind, text: string): void
}

const linesMax = 200
/** So many of the newest lines may be taken back by `replace`. */
const groupReach = 4
const names: Record<LogKind, string> = {
  note: 'note',
  election: 'election',
  member: 'member',
  link: 'link',
  write: 'write',
  read: 'read',
  error: 'error',
}

export function createLogStrip(): LogStrip {
  const list = part('log', HTMLOListElement)
  part('log-clear', HTMLButtonElement).addEventListener('click', () => list.replaceChildren())

  const line = (kind: LogKind, text: string): HTMLLIElement =>
    el(
      'li',
      { 'data-kind': kind },
      el('time', {}, clock(new Date())),
      el('span', { class: 'log-kind' }, names[kind]),
      el('span', { class: 'log-text' }, text),
    )
  const add = (kind: LogKind, text: string): HTMLLIElement => {
    const made = line(kind, text)
    list.prepend(made)
    while (list.childElementCount > linesMax) list.lastElementChild?.remove()
    return made
  }
  return {
    add(kind, text) {
      add(kind, text)
    },
    replace(group, kind, text) {
      const recent = [...list.children].slice(0, groupReach)
      recent.find(item => item instanceof HTMLLIElement && item.dataset.group === group)?.remove()
      add(kind, text).dataset.group = group
    },
  }
}

function clock(now: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0')
  const ms = String(now.getMilliseconds()).padStart(3, '0')
  return `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}.${ms}`
}
