/**
 * A process of the suites of three nodes, told by messages what to do: a member of a HarmonyDB cluster with the callers in it, or the client of an
 * etcd cluster.
 */
import { mkdirSync } from 'node:fs'
import { etcdClient, etcdGateway } from './clusters/etcd-client.ts'
import { harmonyMember } from './clusters/harmonydb-member.ts'
import { enduranceAsks } from './endurance-member.ts'
import { measure } from './measure.ts'
import { buffers, Records } from './records.ts'
import type { Answer, Asks, Question, Replica } from './replication-asks.ts'
import { loads, loadWork } from './replication-cases.ts'
import { checkSum, measureTransactions } from './transaction-cases.ts'

const batchRows = 100

let replica: Replica
let records: Records | undefined
let writing: Promise<void> | undefined
let ends = false
let lastMs = 0
let longestMs = 0
let since = 0

const recordsOf = (count: number): Records => {
  if (records?.count !== count) records = new Records(count, buffers)
  return records
}

/** What was loaded elsewhere is here by then. */
async function loaded(count: number): Promise<Records> {
  const all = recordsOf(count)
  const last = await replica.get(all.key(count - 1))
  all.check(count - 1, last, false)
  return all
}

const asks: Asks = {
  async open(opening) {
    if (opening.engine === 'harmonydb') {
      mkdirSync(opening.dir, { recursive: true })
      replica = await harmonyMember(opening)
    } else replica = opening.engine === 'etcd' ? etcdClient(opening.host) : etcdGateway(opening.host)
  },
  standing: async () => replica.standing(),
  async load(loading) {
    const all = recordsOf(loading.records)
    for (let from = 0; from < all.count; from += batchRows) {
      const length = Math.min(batchRows, all.count - from)
      await replica.batch(Array.from({ length }, (_, i) => ({ key: all.key(from + i), value: all.value(from + i, 0) })))
    }
  },
  async measure({ name, round, seconds, records: count }) {
    const all = await loaded(count)
    return measure(loadWork(name, replica, all, round), loads[name], seconds)
  },
  async transact({ name, engine, round, seconds, records: count }) {
    const { lockWaits } = replica
    const store = { transact: replica.transactAs(engine), ...(lockWaits !== undefined && { lockWaits }) }
    return measureTransactions(name, store, await loaded(count), round, seconds)
  },
  checkSum: ({ records: count, increments }) => checkSum(recordsOf(count), replica.get, increments),
  async beginWrites(loading) {
    ends = false
    longestMs = 0
    since = 0
    const all = recordsOf(loading.records)
    await replica.put(all.key(0), all.value(0, 0))
    lastMs = performance.now()
    writing = writeOn(all)
  },
  async gap() {
    const gap = { longestMs, since }
    since = 0
    return gap
  },
  async endWrites() {
    ends = true
    await writing
  },
  ...enduranceAsks(() => {
    if (replica.enduring === undefined) throw new Error('this is no member of HarmonyDB')
    return replica.enduring
  }),
  leave: () => replica.leave(),
  close: async () => void (await replica.close()),
}

async function writeOn(all: Records): Promise<void> {
  for (let n = 0; !ends; n++) {
    const record = n % all.count
    try {
      await replica.put(all.key(record), all.value(record, n))
    } catch {
      // Whoever writes tries again.
      await new Promise(resolve => setTimeout(resolve, 2))
      continue
    }
    const nowMs = performance.now()
    longestMs = Math.max(longestMs, nowMs - lastMs)
    lastMs = nowMs
    since++
  }
}

async function answer({ id, ask, with: argument }: Question): Promise<Answer> {
  try {
    return { id, value: await asks[ask](argument as never) }
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

process.on('message', async message => {
  const question = message as Question
  const answered = await answer(question)
  // Native modules may keep the process.
  process.send!(answered, () => question.ask === 'close' && process.exit())
})
// Whoever asked is gone.
process.on('disconnect', () => process.exit())
