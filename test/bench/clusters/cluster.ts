/** Three nodes of one system, as the suite `replication` uses them. */
import type { FailoverName } from '../replication-cases.ts'
import type { Asked } from './asked.ts'

export interface Cluster {
  /** Where the callers of each engine are: one cluster may be measured from several places. */
  callers(): Promise<Readonly<Record<string, Asked>>>
  /** Who writes while the leader goes: not the leader. */
  writer(): Promise<Asked>
  /** The leader goes; resolves when it has been told to, or is dead. Undefined: this system has no such thing. */
  readonly loseLeader: Readonly<Partial<Record<FailoverName, () => Promise<void>>>>
  /** Three nodes again, as good as before. */
  restore(): Promise<void>
  end(): Promise<void>
}

export interface ClusterOptions {
  readonly dir: string
  readonly childScript: string
  readonly modulePath: string
}

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export async function until(condition: () => Promise<boolean>, what: string, msMax = 30_000): Promise<void> {
  const endMs = performance.now() + msMax
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${msMax} ms: ${what}`)
    await pause(20)
  }
}
