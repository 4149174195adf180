/** `harmonydb prepared`: which transactions are prepared, and the decision about one of them. */
import type { PreparedTransaction } from '../../../src/index.ts'
import { type CommonOptions, withTarget } from './data-commands.ts'
import { usage } from './exit-status.ts'
import type { Output } from './output.ts'

export async function prepared(
  decision: 'commit' | 'rollback' | undefined,
  id: string | undefined,
  options: CommonOptions,
  output: Output,
): Promise<void> {
  const { json, timeoutMs } = options
  if (decision !== undefined && id === undefined) throw usage(`${decision} takes the id of a prepared transaction`)
  await withTarget(options, false, output, async db => {
    if (decision === undefined || id === undefined) {
      for (const one of await db.prepared.list({ timeoutMs }))
        await output.line(json ? JSON.stringify(one) : shown(one))
    } else if (decision === 'commit') {
      const { version } = await db.prepared.commit(id, { timeoutMs })
      await output.line(json ? JSON.stringify({ id, version }) : version)
    } else {
      await db.prepared.rollback(id, { timeoutMs })
      if (json) await output.line(JSON.stringify({ id }))
    }
  })
}

/** The wall clock of the peer that led may be set wrong: what it says is shown, and not computed with. */
const shown = ({ id, keys, preparedAtMs, holdMs }: PreparedTransaction): string => {
  const at = new Date(preparedAtMs)
  const when = Number.isNaN(at.getTime()) ? `${preparedAtMs} ms` : at.toISOString()
  return `${JSON.stringify(id)}\t${keys} keys\tsince ${when}\theld for ${holdMs / 1000} s`
}
