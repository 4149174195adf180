/**
 * Bugs, put into the consensus core on purpose: the simulation has to find each of them. An edit replaces a text that stands in its file once; `mutations.test.ts` checks
 * that it does, so that the list cannot rot.
 */
import { readFileSync } from 'node:fs'
import type { Plugin } from 'esbuild'

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
    name: 'a leader takes no heed of a later term',
    file: 'state.ts',
    edits: [["  state.role = 'follower'\n", "  if (state.role !== 'leader') state.role = 'follower'\n"]],
  },
  {
    name: 'a refused append is taken for acknowledged',
    file: 'follower.ts',
    edits: [['if (skipped === 0) refuse(state, message)', 'if (skipped === 0) acknowledge(state, message.prevIndex)']],
  },
]

/** Puts the mistake into what is built. */
export const mutating = ({ file, edits }: Mutation): Plugin => ({
  name: 'mutate',
  setup({ onLoad }) {
    onLoad({ filter: new RegExp(`src[\\\\/]raft[\\\\/]${file}$`) }, ({ path }) => {
      let contents = readFileSync(path, 'utf8')
      for (const [from, to] of edits) contents = contents.replace(from, to)
      return { contents, loader: 'ts' }
    })
  },
})
