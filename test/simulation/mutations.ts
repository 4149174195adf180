/**
 * Bugs, put into the consensus core on purpose: the simulation has to find each of them. An edit replaces a text that stands in its file once; `mutations.test.ts` checks
 * that it does, so that the list cannot rot.
 */

export interface Mutation {
  readonly name: string
  /** Under `src/raft`. */
  readonly file: string
  readonly edits: readonly (readonly [from: string, to: string])[]
}

export const mutations: readonly Mutation[] = [
  {
    name: 'votes for everybody who asks',
    file: 'election.ts',
    edits: [['state.vote === candidate || (state.vote === undefined && state.leader === undefined)', 'true']],
  },
  {
    name: 'votes for candidates whose log lacks entries',
    file: 'election.ts',
    edits: [
      ['const granted = free && upToDate', 'const granted = free'],
      ['mayVoteFor(state, message.from) && upToDate', 'mayVoteFor(state, message.from)'],
    ],
  },
  {
    name: 'a minority elects',
    file: 'quorum.ts',
    edits: [['Math.floor(half.length / 2) + 1', 'Math.floor(half.length / 2)']],
  },
  {
    name: 'committed is what anybody has',
    file: 'quorum.ts',
    edits: [['return values[Math.floor(length / 2)]!', 'return values[0]!']],
  },
  {
    name: 'committed is what half of an even number have',
    file: 'quorum.ts',
    edits: [['return values[Math.floor(length / 2)]!', 'return values[Math.floor((length - 1) / 2)]!']],
  },
  {
    name: 'a follower looks at indexes only, not at terms',
    file: 'log.ts',
    edits: [
      [
        'return at >= this.base && at <= this.lastAt && this.runs.termOf(at) === term',
        'return at >= this.base && at <= this.lastAt',
      ],
    ],
  },
  {
    name: 'every append cuts off what follows it',
    file: 'follower.ts',
    edits: [['  while (news < entries.length && log.matches(entries[news]!.index, entries[news]!.term)) news++\n', '']],
  },
  {
    name: 'a follower commits entries that its leader has not confirmed',
    file: 'follower.ts',
    edits: [['index(Math.min(message.commit, lastNew))', 'index(Math.min(message.commit, state.log.last))']],
  },
  {
    name: 'a leader answers reads before it knows what is committed',
    file: 'leader.ts',
    edits: [['state.commit >= state.termStart', 'state.commit >= 0']],
  },
  {
    name: "a leader's own entries count before they are on disk",
    file: 'leader.ts',
    edits: [
      [
        'state.peers.self.match = state.log.durable\n  advanceCommit(state)',
        'state.peers.self.match = state.log.last\n  advanceCommit(state)',
      ],
    ],
  },
  {
    name: 'configurations of a log that lost stay in force',
    file: 'follower.ts',
    edits: [['  state.configurations.truncate(from)\n', '']],
  },
  {
    name: 'a leader takes no heed of a later term',
    file: 'state.ts',
    edits: [["  state.role = 'follower'\n", "  if (state.role !== 'leader') state.role = 'follower'\n"]],
  },
  {
    name: 'a vote is forgotten when a leader is not heard',
    file: 'election.ts',
    edits: [["    state.role = 'preCandidate'\n", "    state.role = 'preCandidate'\n    state.vote = undefined\n"]],
  },
  {
    name: 'a refused append is taken for acknowledged',
    file: 'follower.ts',
    edits: [['if (skipped === 0) refuse(state, message)', 'if (skipped === 0) acknowledge(state, message.prevIndex)']],
  },
]
