/**
 * A simulated signaling server: rooms, in which it carries small messages between those who are connected, and promises
 * nothing. It can be down as a whole or out of one process's reach; sessions then hear `down`, and `open` when it is back.
 */

import { crc32c } from '../../src/base/checksum.ts'
import type { PeerId } from '../../src/base/ids.ts'
import { encodeText } from '../../src/base/text.ts'
import type { Rendezvous, RendezvousEvents, RendezvousSession } from '../../src/platform.ts'
import type { NetworkConditions } from './conditions.ts'
import type { Incarnation } from './incarnation.ts'

interface Session {
  readonly room: string
  readonly self: PeerId
  readonly process: Incarnation
  readonly events: RendezvousEvents
  state: 'new' | 'open' | 'down'
  closed: boolean
}

export class SignalingServer {
  private readonly conditions: NetworkConditions
  private readonly sessions = new Set<Session>()
  private readonly unreachable = new Set<string>()
  private downNow = false

  constructor(conditions: NetworkConditions) {
    this.conditions = conditions
  }

  setDown(down: boolean): void {
    this.downNow = down
    for (const session of this.sessions) this.reconsider(session)
  }

  setReachable(process: string, reachable: boolean): void {
    if (reachable) this.unreachable.delete(process)
    else this.unreachable.add(process)
    for (const session of this.sessions) if (session.process.name === process) this.reconsider(session)
  }

  processDied(process: Incarnation): void {
    for (const session of this.sessions) if (session.process === process) this.sessions.delete(session)
  }

  rendezvousOf(process: Incarnation): Rendezvous {
    return { connect: (room, self, events) => this.connect(process, room, self, events) }
  }

  private connect(process: Incarnation, room: string, self: PeerId, events: RendezvousEvents): RendezvousSession {
    const session: Session = { room, self, process, events, state: 'new', closed: false }
    this.sessions.add(session)
    process.after(2 * this.conditions.delayMs(), 'rendezvous', () => this.reconsider(session))
    return {
      send: (to, message) => this.send(session, to, message),
      close: () => {
        session.closed = true
        this.sessions.delete(session)
      },
    }
  }

  private reaches(session: Session): boolean {
    return !this.downNow && !this.unreachable.has(session.process.name)
  }

  private reconsider(session: Session): void {
    session.process.soon('rendezvous state', () => {
      const state = this.reaches(session) ? 'open' : 'down'
      if (session.closed || session.state === state) return
      session.state = state
      session.events.onState(state, state === 'open' ? 'connected' : 'the signaling server is out of reach')
    })
  }

  private send(from: Session, to: string, message: unknown): void {
    if (from.closed || !from.process.alive || from.state !== 'open' || !this.reaches(from)) return
    const text = JSON.stringify(message)
    const { conditions } = this
    for (const session of this.sessions) {
      if (session === from || session.room !== from.room || (to !== '*' && to !== session.self)) continue
      if (conditions.random.chance(conditions.options.rendezvousLossChance)) continue
      session.process.after(2 * conditions.delayMs(), 'introduction', () => {
        if (session.closed || session.state !== 'open' || !this.reaches(session)) return
        conditions.scheduler.note(crc32c(encodeText(text)))
        session.events.onMessage(from.self, JSON.parse(text))
      })
    }
  }
}
