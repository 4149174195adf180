/** What a peer knows of its cluster, as users see it. */
import type { PeerId } from '../base/ids.ts'
import { leaderOf, type PeerStatus } from '../cluster/peer-types.ts'
import type { Platform } from '../platform.ts'
import type { CoreMirror } from './core.ts'
import type { ClusterStatus, DatabaseEvent, Member } from './types.ts'

export function clusterStatus(status: PeerStatus): ClusterStatus {
  const { raft } = status
  const learner = raft.configuration.learners.includes(status.id) || !raft.configuration.voters.includes(status.id)
  const role =
    raft.role === 'leader' ? 'leader' : learner ? 'learner' : raft.role === 'follower' ? 'follower' : 'candidate'
  return {
    health: status.health,
    self: status.id,
    clusterId: status.cluster,
    room: status.room,
    role,
    leader: leaderOf(raft),
    term: raft.term,
    commitIndex: raft.commit,
    appliedIndex: raft.applied,
    lastIndex: raft.lastIndex,
    lag: Math.max(0, raft.commit - raft.applied),
  }
}

export function members(status: PeerStatus, kind: Platform['kind']): Member[] {
  const { configuration } = status.raft
  const links = new Map(status.links.map(link => [link.id, link]))
  const progress = new Map(status.raft.progress.map(one => [one.id, one]))
  const voters = new Set<PeerId>([...configuration.voters, ...configuration.outgoing])
  const leader = leaderOf(status.raft)
  const ids = new Set<PeerId>([...voters, ...configuration.learners, ...configuration.learnersNext])
  return [...ids].sort().map(id => {
    const link = links.get(id)
    const self = id === status.id
    return {
      id,
      role:
        configuration.voters.includes(id) || (voters.has(id) && !configuration.learnersNext.includes(id))
          ? 'voter'
          : 'learner',
      state: self ? 'self' : link === undefined ? 'unreachable' : link.state === 'linked' ? 'connected' : 'connecting',
      kind: self ? kind : (link?.kind ?? 'unknown'),
      leader: id === leader,
      self,
      rttMs: link?.rttMs,
      matchIndex: self ? status.raft.lastIndex : progress.get(id)?.match,
    }
  })
}

/** What has happened between two pictures of it. */
export function differences(before: CoreMirror, after: CoreMirror): DatabaseEvent[] {
  const events: DatabaseEvent[] = []
  if (before.cluster.role !== after.cluster.role)
    events.push({ type: 'role', role: after.cluster.role, term: after.cluster.term })
  if (before.cluster.health !== after.cluster.health) events.push({ type: 'health', health: after.cluster.health })
  const known = new Map(before.members.map(member => [member.id, member]))
  for (const member of after.members) {
    const was = known.get(member.id)
    known.delete(member.id)
    if (was === undefined) events.push({ type: 'member', id: member.id, change: 'joined' })
    else if (was.role !== member.role)
      events.push({ type: 'member', id: member.id, change: member.role === 'voter' ? 'promoted' : 'demoted' })
  }
  for (const id of known.keys()) events.push({ type: 'member', id, change: 'left' })
  return events
}
