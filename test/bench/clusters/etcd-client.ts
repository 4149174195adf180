/** etcd through its JavaScript client, etcd3. */
import { Etcd3 } from 'etcd3'
import type { Replica } from '../replication-asks.ts'

/** A call that a lost leader left without an answer is made again after this. */
const callMsMax = 500

export function etcdClient(hosts: readonly string[]): Replica {
  const client = new Etcd3({
    hosts: [...hosts],
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + callMsMax }),
  })
  return {
    put: (key, value) => client.put(key).value(value).exec(),
    get: async key => (await client.get(key).buffer()) ?? undefined,
    getLocal: async key => (await client.get(key).serializable(true).buffer()) ?? undefined,
    batch: rows =>
      client
        .if(rows[0]!.key, 'Mod', '!=', 1)
        .then(...rows.map(({ key, value }) => client.put(key).value(value)))
        .commit(),
    close: () => client.close(),
    standing: () => undefined,
    leave: () => Promise.reject(new Error('a client is no member')),
  }
}
