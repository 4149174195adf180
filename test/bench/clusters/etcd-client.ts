/** etcd through its JavaScript client, etcd3. */
import { Etcd3 } from 'etcd3'
import type { Replica } from '../replication-asks.ts'
import type { Change } from '../stores/store.ts'

const noMember = (): never => {
  throw new Error('a client is no member')
}

export function etcdClient(host: string): Replica {
  const client = new Etcd3({ hosts: host })
  return {
    put: (key, value) => client.put(key).value(value).exec(),
    get: async key => (await client.get(key).buffer()) ?? undefined,
    getLocal: async key => (await client.get(key).serializable(true).buffer()) ?? undefined,
    batch: rows =>
      client
        .if(rows[0]!.key, 'Mod', '!=', 1)
        .then(...rows.map(({ key, value }) => client.put(key).value(value)))
        .commit(),
    transactAs: () => (keys, change) => compareAndSwap(client, keys, change),
    close: () => client.close(),
    standing: () => undefined,
    leave: async () => noMember(),
  }
}

/** Reads need not be linearizable: what they gave is compared with what is there when it is written. */
async function compareAndSwap(client: Etcd3, keys: readonly Buffer[], change: Change<Buffer>): Promise<void> {
  for (;;) {
    const read = await Promise.all(keys.map(async key => (await client.get(key).serializable(true).exec()).kvs[0]))
    const values = change(read.map(found => found?.value))
    const [first, ...others] = keys.map((key, i) => ({ key, revision: read[i]?.mod_revision ?? 0 }))
    const swap = client.if(first!.key, 'Mod', '==', first!.revision)
    for (const { key, revision } of others) swap.and(key, 'Mod', '==', revision)
    const { succeeded } = await swap.then(...keys.map((key, i) => client.put(key).value(values[i]!))).commit()
    if (succeeded) return
  }
}

/** A call that a lost leader left without an answer is made again after this. */
const callMsMax = 500

/**
 * Who writes while the leader goes: etcd's own JSON interface, for etcd3 gives a host up for five seconds when three calls have failed, and what is measured is how
 * long etcd takes.
 */
export function etcdGateway(host: string): Replica {
  const ask = async (path: string, body: object): Promise<void> => {
    const signal = AbortSignal.timeout(callMsMax)
    const response = await fetch(`${host}/v3/kv/${path}`, { method: 'POST', body: JSON.stringify(body), signal })
    const text = await response.text()
    if (!response.ok) throw new Error(text)
  }
  const unused = (): never => {
    throw new Error('this client only puts')
  }
  return {
    put: (key, value) => ask('put', { key: key.toString('base64'), value: value.toString('base64') }),
    get: unused,
    getLocal: unused,
    batch: unused,
    transactAs: unused,
    close() {},
    standing: () => undefined,
    leave: async () => noMember(),
  }
}
