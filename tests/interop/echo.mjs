// Much at once, between js-libp2p and us: many streams beside each other, and one that is large.
//
// node echo.mjs dial ADDRESS      sends to an echo, and exits with 0 only if all came back
// node echo.mjs listen            prints its address, and sends back what it gets until it is ended

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { PROTOCOL, createHost } from './host.mjs'

const { multiaddr } = await import('@multiformats/multiaddr')

const STREAMS = 50
const STREAMS_MAX = 2 * STREAMS
const LARGE_FRAMES = 512
const FRAME_BYTES = 60 * 1024
const LENGTH_BYTES = 4
const [mode, address] = process.argv.slice(2)

function frameOf (number) {
  const frame = new Uint8Array(LENGTH_BYTES + FRAME_BYTES).fill(number)
  new DataView(frame.buffer).setUint32(0, FRAME_BYTES)
  return frame
}

async function sendAndCheck (connection, first, count) {
  const stream = await connection.newStream(PROTOCOL, { maxOutboundStreams: STREAMS_MAX })
  const sent = createHash('sha256')
  const echoed = createHash('sha256')
  const done = Promise.withResolvers()
  let left = count * (LENGTH_BYTES + FRAME_BYTES)
  stream.addEventListener('message', ({ data }) => {
    echoed.update(data.subarray())
    left -= data.byteLength
    if (left <= 0) done.resolve()
  })
  stream.addEventListener('close', () => done.reject(new Error(`closed ${left} bytes too early`)))
  for (let number = 0; number < count; number++) {
    const frame = frameOf(first + number)
    sent.update(frame)
    if (!stream.send(frame)) await stream.onDrain()
  }
  await done.promise
  assert.equal(left, 0)
  assert.equal(echoed.digest('hex'), sent.digest('hex'))
  await stream.close()
}

async function dial () {
  const host = await createHost()
  const connection = await host.dial(multiaddr(address))
  console.log(`dialed ${connection.remoteAddr}: ${connection.encryption} ${connection.multiplexer}`)
  await sendAndCheck(connection, 0, LARGE_FRAMES)
  console.log('one large stream came back')
  const all = Array.from({ length: STREAMS }, (_, number) => sendAndCheck(connection, number, 8))
  await Promise.all(all)
  console.log(`${STREAMS} streams beside each other came back`)
  await host.stop()
}

async function listen () {
  const host = await createHost(['/ip4/127.0.0.1/tcp/0'])
  await host.handle(PROTOCOL, async stream => {
    for await (const data of stream) {
      if (!stream.send(data)) await stream.onDrain()
    }
    await stream.close()
  }, { maxInboundStreams: STREAMS_MAX })
  console.log(`READY ${host.getMultiaddrs()[0]}`)
}

await (mode === 'dial' ? dial() : listen())
