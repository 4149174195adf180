/**
 * Bugs, put into consensus, the log and membership on purpose: a simulation has to find each of them. An edit replaces a text that stands in its file once; `mutations.test.ts` checks
 * that it does, so that the list cannot rot.
 */
import type { Mutation } from '../mutated-bundle.ts'

export interface NamedMutation extends Mutation {
  readonly name: string
}

/** Found by the consensus core on a hostile network (`test/unit/raft/network-model.ts`). */
export const ofConsensus: readonly NamedMutation[] = [
  {
    name: 'votes for everybody who asks',
    file: 'src/raft/election.ts',
    edits: [['state.vote === candidate || (state.vote === undefined && state.leader === undefined)', 'true']],
  },
  {
    name: 'votes for candidates whose log lacks entries',
    file: 'src/raft/election.ts',
    edits: [
      ['const granted = free && upToDate', 'const granted = free'],
      ['mayVoteFor(state, message.from) && upToDate', 'mayVoteFor(state, message.from)'],
    ],
  },
  {
    name: 'a minority elects',
    file: 'src/raft/quorum.ts',
    edits: [['Math.floor(half.length / 2) + 1', 'Math.floor(half.length / 2)']],
  },
  {
    name: 'a leader takes no heed of a later term',
    file: 'src/raft/state.ts',
    edits: [["  state.role = 'follower'\n", "  if (state.role !== 'leader') state.role = 'follower'\n"]],
  },
  {
    name: 'a refused append is taken for acknowledged',
    file: 'src/raft/follower.ts',
    edits: [['if (skipped === 0) refuse(state, message)', 'if (skipped === 0) acknowledge(state, message.prevIndex)']],
  },
  {
    name: 'a follower commits past what an append brought',
    file: 'src/raft/follower.ts',
    edits: [['Math.min(message.commit, lastNew)', 'Math.min(message.commit, log.last)']],
  },
  {
    name: 'terms are not looked at where logs are matched',
    file: 'src/raft/log.ts',
    edits: [['at <= this.lastAt && this.runs.termOf(at) === term', 'at <= this.lastAt && term >= 0']],
  },
  {
    name: 'an append takes away what is behind it',
    file: 'src/raft/follower.ts',
    edits: [
      [
        'if (news === entries.length) return true',
        'if (news === entries.length) {\n    const end = (entries[news - 1]?.index ?? log.last) + 1\n    if (end <= log.last && end > state.commit) cut(state, index(end))\n    return true\n  }',
      ],
    ],
  },
  {
    name: 'a follower acknowledges all that it has',
    file: 'src/raft/follower.ts',
    edits: [['  acknowledge(state, lastNew)\n', '  acknowledge(state, log.last)\n']],
  },
  {
    name: 'a vote is given before it is on disk',
    file: 'src/raft/election.ts',
    edits: [["state.messagesAfterAppend.push({ type: 'voteReply'", "state.messages.push({ type: 'voteReply'"]],
  },
  {
    name: 'a vote is forgotten with a restart',
    file: 'src/raft/state.ts',
    edits: [['this.vote = restored.hardState.vote', 'this.vote = undefined']],
  },
  {
    name: 'committed is what anybody has',
    file: 'src/raft/quorum.ts',
    edits: [['return values[Math.floor(length / 2)]!', 'return values[0]!']],
  },
  {
    name: 'reads are answered before the leader knows what is committed',
    file: 'src/raft/leader.ts',
    edits: [['state.rounds.canBegin && knowsCommit(state)', 'state.rounds.canBegin']],
  },
  {
    name: 'what the leader has not synced counts',
    file: 'src/raft/leader.ts',
    edits: [
      [
        '  state.sendsDue = true\n  return entry\n',
        '  state.sendsDue = true\n  state.peers.self.match = entry.index\n  return entry\n',
      ],
    ],
  },
  {
    name: 'a heartbeat tells a commit index that its receiver may not have',
    file: 'src/raft/leader.ts',
    edits: [
      [
        'const known = index(Math.min(match, commit))',
        'const known = index(Math.max(Math.min(match, commit), commit))',
      ],
    ],
  },
  {
    name: 'a completed write vouches for entries that were cut off meanwhile',
    file: 'src/raft/follower.ts',
    edits: [['  state.log.truncate(from)\n  state.appends.truncated(from)\n', '  state.log.truncate(from)\n']],
  },
  {
    name: 'a candidate asks for votes before its own is on disk',
    file: 'src/raft/election.ts',
    edits: [["type === 'vote' ? state.messagesAfterAppend : state.messages", 'state.messages']],
  },
  {
    name: 'an election in a joint configuration asks one half',
    file: 'src/raft/quorum.ts',
    edits: [
      ["return first === 'won' && second === 'won' ? 'won' : 'pending'", "return first === 'won' ? 'won' : 'pending'"],
    ],
  },
  {
    name: 'a joint configuration commits with one half',
    file: 'src/raft/progress.ts',
    edits: [
      [
        'Math.min(this.reachedBy(this.voters, measure), this.reachedBy(this.outgoing, measure))',
        'this.reachedBy(this.voters, measure)',
      ],
    ],
  },
  {
    name: 'half of an even number is a majority',
    file: 'src/raft/quorum.ts',
    edits: [['return values[Math.floor(length / 2)]!', 'return values[Math.floor((length - 1) / 2)]!']],
  },
  {
    name: 'entries of earlier terms are committed by counting',
    file: 'src/raft/leader.ts',
    edits: [
      ['if (reached <= state.commit || reached < state.termStart) return', 'if (reached <= state.commit) return'],
    ],
  },
  {
    name: 'a read asks nobody whether this is still the leader',
    file: 'src/raft/progress.ts',
    edits: [['return this.reached(peer => peer.readRound)', 'return this.self.readRound']],
  },
  {
    name: 'a joint configuration is left before it is committed',
    file: 'src/raft/leader.ts',
    edits: [
      [
        'if (!knowsCommit(state) || currentIndex > state.commit) return',
        'if (!knowsCommit(state) || currentIndex < 0) return',
      ],
    ],
  },
  {
    name: 'a follower acknowledges before it has synced',
    file: 'src/raft/raft.ts',
    edits: [["state.messagesAfterAppend.push({ type: 'appendReply'", "state.messages.push({ type: 'appendReply'"]],
  },
  {
    name: 'a received state is put in front of any log',
    file: 'src/raft/follower.ts',
    edits: [['if (log.matches(base.index, base.term)) commitThrough', 'if (log.last >= base.index) commitThrough']],
  },
]

/** Found by whole clusters (`harmonydb simulate`). */
export const ofClusters: readonly NamedMutation[] = [
  {
    name: 'terms and votes are not written',
    file: 'src/shard/replica.ts',
    edits: [['this.log.writeHardState()\n    this.log.append(ready.entries)', 'this.log.append(ready.entries)']],
  },
  {
    name: 'every read is local',
    file: 'src/cluster/clients.ts',
    edits: [
      ['return this.host.replica()?.readable === true && this.host.unusable() === undefined', 'return this.localReady'],
    ],
  },
  {
    name: 'a new leader gives out timestamps before it knows the newest',
    file: 'src/txn/oracle.ts',
    edits: [['return applied >= this.leadingSince.index', 'return applied >= 0']],
  },
  {
    name: 'a lease outlasts the promise that it rests on',
    file: 'src/shard/lease.ts',
    edits: [['this.clock.now() - newest.nowMs) < this.ms', 'this.clock.now() - newest.nowMs) < this.ms * 16']],
  },
]

/** Not found by either in 500 seeds, but by tests of their own, if at all: `DEEP=1` looks for them, too, and tells. */
export const elusive: readonly NamedMutation[] = [
  {
    name: 'configurations are not rolled back with their entries',
    file: 'src/raft/follower.ts',
    edits: [['  state.configurations.truncate(from)\n', '']],
  },
  {
    name: 'messages of earlier terms are taken',
    file: 'src/raft/raft.ts',
    edits: [['      this.answerStale(message)\n      return\n', '      this.answerStale(message)\n']],
  },
  {
    name: 'configurations change while a change is pending',
    file: 'src/raft/leader.ts',
    edits: [["if (!knowsCommit(state) || changePending(state)) return { ok: false, reason: 'pending' }", '']],
  },
  {
    name: 'a received state brings no configuration',
    file: 'src/raft/follower.ts',
    edits: [['    state.configurations = new ConfigurationHistory(base, [])\n', '']],
  },
  {
    name: 'a write that comes again is executed again',
    file: 'src/shard/sessions.ts',
    edits: [
      [
        'return this.outcomes.get(serial) ?? (serial < this.floor ? stale : undefined)',
        'return serial < this.floor ? stale : undefined',
      ],
    ],
  },
]

/** All that are found. */
export const mutations: readonly NamedMutation[] = [...ofConsensus, ...ofClusters]
