/** The rules T1 to T4 and E1 to E4 for links between Node processes. */
import { createNodeTransport } from '../../platform/node/rtc/transport.ts'
import { type EndpointHarness, endpointRules } from '../conformance/endpoint-suite.ts'
import { describeRules } from '../conformance/in-vitest.ts'
import { pollUntil } from '../conformance/rule.ts'
import { application, clock, until } from './network-kit.ts'

async function nodeLinks(): Promise<EndpointHarness> {
  // More than the suite's 3 s: on a busy machine a link takes some of these.
  const make = () => createNodeTransport({ clock, timeoutMs: 6_000 })
  const transports = [make(), make()] as const
  const made: { close(): void }[] = []
  return {
    transports,
    async adoptable() {
      const [a, b, open] = application()
      made.push(a, b)
      await until(open, "the application's own channel")
      return [a, b]
    },
    until: pollUntil,
    async dispose() {
      for (const thing of [...transports, ...made]) thing.close()
    },
  }
}

describeRules('links between Node processes', endpointRules, nodeLinks)
