/** `harmonydb recover`: makes a new cluster of a peer whose cluster has lost its majority for good. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Core, createDatabase } from '../../../src/index.ts'
import { openNodeCore } from '../open.ts'
import { usage } from './exit-status.ts'
import type { Output } from './output.ts'

export interface RecoverOptions {
  readonly yes: boolean
  readonly json: boolean
}

/** @throws CommandExit (not confirmed, no database), HarmonyError VALIDATION (nothing to recover), LOCKED, CORRUPT, QUOTA… */
export async function recover(path: string, { yes, json }: RecoverOptions, output: Output): Promise<void> {
  if (!existsSync(join(path, 'harmonydb'))) throw usage(`there is no database in ${path}`)
  const core = await openNodeCore({ name: 'recover', storage: { dir: path }, refuseDamaged: true })
  const db = createDatabase(core)
  try {
    const before = stateOf(core)
    if (!yes) {
      for (const line of planOf(path, before)) output.note(line)
      throw usage('nothing was changed; say --yes once you know that the other voters will never come back')
    }
    await db.cluster.recover({ confirmDataLoss: true })
    const after = stateOf(core)
    if (json) await output.line(JSON.stringify({ dir: path, before, after }))
    else {
      await output.line(`cluster ${before.cluster} goes on as ${after.cluster}, with this peer alone`)
      await output.line(`peer    ${before.peer} goes on as ${after.peer}`)
      await output.line(`state   through entry ${before.lastIndex}; committed for sure through ${before.commitIndex}`)
    }
  } finally {
    await db.close()
  }
}

interface State {
  readonly cluster: string
  readonly peer: string
  readonly voters: readonly string[]
  readonly commitIndex: number
  readonly lastIndex: number
}

function stateOf(core: Core): State {
  const { cluster, members } = core.mirror()
  const voters = members.filter(({ role }) => role === 'voter').map(({ id }) => id)
  const { clusterId, self, commitIndex, lastIndex } = cluster
  return { cluster: clusterId, peer: self, voters, commitIndex, lastIndex }
}

function planOf(path: string, { cluster, peer, voters, commitIndex, lastIndex }: State): readonly string[] {
  const others = voters.filter(id => id !== peer)
  return [
    `${path}: peer ${peer} of cluster ${cluster}`,
    `other voters: ${others.length === 0 ? 'none' : others.join(', ')}`,
    `It would become a cluster of its own, with a new id, and keep what it has: everything through entry ${lastIndex}.`,
    'What only the others had is lost.',
    ...(commitIndex < lastIndex
      ? [`Entries ${commitIndex + 1} to ${lastIndex} may hold writes that nobody was told of; they count as made.`]
      : []),
    'The old cluster and the new one never mix, should its voters come back. Other survivors: delete their directories, and let them join the new one.',
  ]
}
