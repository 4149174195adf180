/** Puts what the database reports into words for the log: elections, members, links, health, and what others wrote. */
import type { ClusterStatus, DatabaseEvent } from '../src/database/types.ts'
import { formatCount, formatMs, shortId } from './format.ts'
import type { LogStrip } from './log-strip.ts'

export interface EventLog {
  event(event: DatabaseEvent, self: string | undefined): void
  status(before: ClusterStatus | undefined, now: ClusterStatus): void
}

export function createEventLog(log: LogStrip): EventLog {
  let leaderlessSinceMs: number | undefined
  let burstBegan = 0
  let lastAppliedMs = Number.NEGATIVE_INFINITY

  return {
    event(event, self) {
      const who = 'id' in event ? (event.id === self ? 'this tab' : shortId(event.id)) : ''
      switch (event.type) {
        case 'opened':
          return log.add('note', `opened, stored in ${event.storage}`)
        case 'repaired':
          return log.add('note', event.message)
        case 'adopted':
          return log.add('member', `${who} runs here as well: its tab is gone, its vote is not`)
        case 'returned':
          return log.add('member', `${who} does not run here any more: ${event.message}`)
        case 'role':
          return log.add('election', `this tab is ${event.role} in term ${event.term}`)
        case 'health':
          return log.add(event.health === 'no-quorum' ? 'error' : 'note', `health: ${event.health}`)
        case 'member':
          if (event.id === self && event.change === 'left')
            return log.add('member', 'this tab gave up its former cluster')
          return log.add('member', `${who} ${memberWords[event.change]}`)
        case 'link':
          return log.add('link', `${who}: ${event.message}`)
        case 'signaling':
          return log.replace(`signaling ${event.state}`, 'link', `signalling ${event.state}: ${event.message}`)
        case 'error':
          return log.add('error', `${event.error.code}: ${event.error.message}`)
      }
    },
    status(before, now) {
      if (before === undefined) return
      if (before.leader !== undefined && now.leader === undefined) leaderlessSinceMs = performance.now()
      if (now.leader !== undefined && before.leader !== now.leader) {
        const gap =
          leaderlessSinceMs === undefined ? '' : ` after ${formatMs(performance.now() - leaderlessSinceMs)} without one`
        leaderlessSinceMs = undefined
        log.add(
          'election',
          `${now.leader === now.self ? 'this tab' : shortId(now.leader)} leads term ${now.term}${gap}`,
        )
      }
      if (now.appliedIndex > before.appliedIndex) {
        const nowMs = performance.now()
        // One line for a burst: entries that follow each other within a second share it.
        if (nowMs - lastAppliedMs > 1_000) burstBegan = before.appliedIndex
        lastAppliedMs = nowMs
        const many = now.appliedIndex - burstBegan
        log.replace(
          'applied',
          'note',
          `applied ${many === 1 ? 'entry' : `${formatCount(many)} entries, up to`} ${formatCount(now.appliedIndex)}`,
        )
      }
    },
  }
}

const memberWords: Readonly<Record<Extract<DatabaseEvent, { type: 'member' }>['change'], string>> = {
  joined: 'joined',
  left: 'left',
  promoted: 'became a voter',
  demoted: 'became a learner',
  connected: 'connected',
  disconnected: 'disconnected',
}
