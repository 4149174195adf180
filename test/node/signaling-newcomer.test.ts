/** Who comes to a room late hears at once who is there: no second cluster is founded because somebody was slow to answer. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { idA, idB, idC, until } from './network-kit.ts'
import { closeAll, member, open, server } from './signaling-kit.ts'

vi.setConfig({ testTimeout: 20_000 })

afterEach(closeAll)

describe('a newcomer', () => {
  it('gets the last small broadcast of each member, and nothing that was for one or is large', async () => {
    const { url } = await server()
    const [a, b] = [member(url, 'room', idA), member(url, 'room', idB)]
    await open(a, b)
    a.session.send('*', 'first')
    a.session.send('*', { here: 1 })
    a.session.send(idB, 'for b alone')
    b.session.send('*', 'x'.repeat(2000))
    await until(() => b.received.length === 3 && a.received.length === 1, 'relayed')
    const c = member(url, 'room', idC)
    await open(c)
    await until(() => c.received.length > 0, 'the broadcast')
    a.session.send(idC, 'end')
    await until(() => c.received.length === 2, 'the end')
    expect(c.received).toEqual([
      [idA, { here: 1 }],
      [idA, 'end'],
    ])
  })

  it('hears nothing of those who have gone, nor of other rooms', async () => {
    const { url, stats } = await server()
    const [a, b, other] = [member(url, 'room', idA), member(url, 'room', idB), member(url, 'elsewhere', idC)]
    await open(a, b, other)
    a.session.send('*', 'a')
    other.session.send('*', 'c')
    await until(() => b.received.length === 1, 'relayed')
    a.session.close()
    await until(() => stats().connections === 2, 'a is gone')
    const late = member(url, 'room', idA)
    await open(late)
    b.session.send(idA, 'end')
    await until(() => late.received.length > 0, 'the end')
    expect(late.received).toEqual([[idB, 'end']])
  })
})
