/** The signalling server against garbage, floods, sleepers and crowds. */
import net from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { frameBytesMax } from '../../platform/network/signal-wire.ts'
import { idA, idB, idC, until } from './network-kit.ts'
import { closeAll, member, open, raw, server, upgradeStatus } from './signaling-kit.ts'

vi.setConfig({ testTimeout: 20_000 })
afterEach(closeAll)

describe('server, under attack', () => {
  const good = async (url: string): Promise<void> => {
    const [a, b] = [member(url, 'good', idA), member(url, 'good', idB)]
    await open(a, b)
    a.session.send(idB, 'works')
    await until(() => b.received.length > 0, 'still serves')
  }

  it('pitfall 43: garbage frames cut their sender and nobody else', async () => {
    const { url, stats } = await server()
    const witness = member(url, 'r', idB)
    await open(witness)
    const garbage: (string | Buffer)[] = [
      '',
      'x',
      '{',
      '[]',
      'null',
      '{}',
      '{"to":"*"}',
      '{"message":1}',
      `{"to":"${idB}x","message":1}`,
      `{"to":"${idB.toUpperCase()}","message":1}`,
      '{"to":["*"],"message":1}',
      '{"to":"*","message":1,"from":"me"}',
      '{"__proto__":{"to":"*"},"message":1}',
      `{"to":"*","message":${'['.repeat(20_000)}${']'.repeat(20_000)}`,
      Buffer.from([0, 255, 1]),
      Buffer.from('{"to":"*","message":1}'),
    ]
    for (const frame of garbage) {
      const socket = await raw(url)
      socket.send(frame)
      await until(() => socket.codes.length > 0, `cut for ${String(frame).slice(0, 40)}`)
      expect(socket.codes).toEqual([4400])
    }
    expect(stats().refused).toBe(garbage.length)
    expect(witness.received).toEqual([])
    await good(url)
  })

  it('pitfall 43: frames that are too big, or grow too big when relayed, cut their sender', async () => {
    const { url } = await server()
    const witness = member(url, 'r', idB)
    await open(witness)
    const big = await raw(url)
    big.send(`{"to":"*","message":"${'x'.repeat(frameBytesMax)}"}`)
    await until(() => big.codes.length > 0, 'cut')
    expect(big.codes).toEqual([1009])
    const growing = await raw(url)
    growing.send(`{"to":"*","message":[${Array.from({ length: 10_000 }, () => '1e20').join()}]}`)
    await until(() => growing.codes.length > 0, 'cut')
    expect(growing.codes).toEqual([4400])
    // The largest that a client sends arrives.
    const a = member(url, 'r', idA)
    await open(a)
    const largest = 'x'.repeat(frameBytesMax - '{"to":"*","message":""}'.length)
    a.session.send('*', largest)
    await until(() => witness.received.length > 0, 'the largest')
    expect(witness.received).toEqual([[idA, largest]])
    expect(witness.states).toEqual(['open'])
  })

  it('pitfall 43: a flood cuts its sender', async () => {
    const { url } = await server({ framesBurstMax: 50, framesPerSecondMax: 10 })
    const witness = member(url, 'r', idB)
    await open(witness)
    const flood = await raw(url)
    for (let i = 0; i < 500; i++) flood.send('{"to":"*","message":1}')
    await until(() => flood.codes.length > 0, 'cut')
    expect(flood.codes).toEqual([4429])
    expect(witness.received.length).toBeGreaterThanOrEqual(50)
    expect(witness.received.length).toBeLessThan(100)
    await good(url)
  })

  it('pitfall 43: who does not read is cut, and the server keeps no more than the backlog for it', async () => {
    const { url, stats } = await server({ backlogBytesMax: 200_000 })
    const sleeper = await raw(url, 'r', idB)
    sleeper.pause()
    const a = member(url, 'r', idA)
    await open(a)
    const message = 'x'.repeat(60_000)
    await until(() => {
      a.session.send(idB, message)
      return stats().connections === 1
    }, 'cut')
    expect(stats().refused).toBe(1)
    expect(a.states).toEqual(['open'])
  })

  it('who does not answer two pings is cut', async () => {
    const { url, stats } = await server({ heartbeatIntervalMs: 50 })
    const alive = member(url, 'r', idA)
    await open(alive)
    const dead = await raw(url, 'r', idB)
    dead.pause()
    await until(() => stats().connections === 1, 'cut')
    expect(alive.states).toEqual(['open'])
    const listener = await raw(url, 'r', idC)
    await until(() => listener.frames.length > 1, 'heartbeats')
    expect(new Set(listener.frames)).toEqual(new Set(['{}']))
  })

  it('limits connections by room, by address and in all', async () => {
    const byRoom = await server({ connectionsPerRoomMax: 2 })
    await raw(byRoom.url)
    await raw(byRoom.url)
    const third = member(byRoom.url, 'r', idC)
    await until(() => third.states.includes('down'), 'refused')
    expect(third.reasons).toContain('the room is full')
    await raw(byRoom.url, 'another')
    for (const [limits, status] of [
      [{ connectionsMax: 1 }, 503],
      [{ connectionsPerAddressMax: 1 }, 429],
    ] as const) {
      const { url, stats } = await server(limits)
      const held = await raw(url)
      expect(await upgradeStatus(`${url}/signal?room=r&id=${idB}`)).toBe(status)
      held.terminate()
      await until(() => stats().connections === 0, 'free again')
      await raw(url)
    }
  })

  it('answers 400 to a room or an id that is none, and 404 to other paths', async () => {
    const { url } = await server()
    const bad = [
      '',
      '?',
      `?id=${idA}`,
      '?room=r',
      `?room=&id=${idA}`,
      `?room=${'x'.repeat(129)}&id=${idA}`,
      '?room=r&id=x',
      `?room=r&id=${idA.toUpperCase()}`,
      `?room=r&room=r&id=${idA}`,
      `?room=%&id=${idA}`,
      `?room=%ff&id=${idA}`,
    ]
    for (const query of bad) expect(await upgradeStatus(`${url}/signal${query}`)).toBe(400)
    for (const path of ['/', '/signal/', '/other', '/signalx']) {
      expect(await upgradeStatus(`${url}${path}?room=r&id=${idA}`)).toBe(404)
    }
    const health = await fetch(url.replace('ws', 'http'))
    expect(await health.json()).toMatchObject({ service: 'harmonydb-signal', connections: 0, refused: bad.length })
    await good(url)
  })

  it('pitfall 43: survives bytes that are no HTTP, handshakes cut short, and broken WebSocket frames', async () => {
    const { url, port, stats } = await server()
    const send = async (...chunks: (string | Buffer)[]): Promise<void> => {
      const socket = net.connect(port, '127.0.0.1')
      socket.on('error', () => {})
      for (const chunk of chunks) socket.write(chunk)
      await new Promise(resolve => setTimeout(resolve, 30))
      socket.destroy()
    }
    const handshake = `GET /signal?room=r&id=${idA} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`
    await send('garbage\r\n\r\n')
    await send(Buffer.from([0, 1, 2, 255]))
    await send(handshake.slice(0, 60))
    await send(handshake)
    await send(handshake.replace('13', '99'))
    await send(handshake, Buffer.from([0xff, 0xff, 0xff, 0xff]))
    await send(handshake, Buffer.from([0x81, 0x05, 0x68, 0x65])) // not masked
    await send(handshake, Buffer.from([0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0])) // 2^63 bytes announced
    await send(handshake, Buffer.from([0xc1, 0x81, 0, 0, 0, 0, 0x61])) // compressed, which was not agreed
    await until(() => stats().connections === 0, 'all gone')
    await good(url)
  })
})
