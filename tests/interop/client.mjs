// Publishes a log of the test vectors at a relay and reads it back, with none of bazaar's own code.
//
// node client.mjs ADDRESS LOGS_JSON      exits with 0 only if everything was as it has to be

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { decode } from '@msgpack/msgpack'
import { Link } from './link.mjs'

const VERSION = 1
const [address, path] = process.argv.slice(2)
const vectors = JSON.parse(await readFile(path, 'utf8'))
const log = vectors.good.find(vector => vector.name === 'from the genesis')
const records = log.records.map(record => new Uint8Array(Buffer.from(record, 'hex')))
const [payload] = decode(records[0])
const author = decode(payload)[2]

const same = (found, expected) => assert.equal(
  Buffer.from(found).toString('hex'), Buffer.from(expected).toString('hex'))

function flipped (record, place) {
  const damaged = record.slice()
  damaged[place] ^= 1
  return damaged
}

const link = await Link.open(address)
console.log(`dialed ${link.connection.remoteAddr}: ${link.connection.encryption} ${link.connection.multiplexer}`)

const welcome = await link.ask('hello', VERSION, 'interop', [])
assert.equal(welcome[0], 'welcome')
assert.equal(welcome[1], VERSION)
console.log(`welcomed by ${welcome[2]}`)

const damaged = [flipped(records[0], 0), flipped(records[0], records[0].length - 1)]
const refused = await link.ask('publish', 1, damaged)
assert.deepEqual(refused.slice(0, 2), ['published', 1])
assert.match(refused[2][0], /^malformed: /)
assert.match(refused[2][1], /^signature: /)
console.log(`refused: ${refused[2].join('; ')}`)

const accepted = await link.ask('publish', 2, records)
assert.deepEqual(accepted, ['published', 2, records.map(() => 'accepted')])
console.log(`published ${records.length} records of ${Buffer.from(author).toString('hex').slice(0, 12)}`)

const segment = await link.ask('log', 3, author, 1, records.length)
assert.deepEqual([segment[0], segment[1], segment[4]], ['segment', 3, false])
assert.equal(segment[2].length, records.length)
segment[2].forEach((record, index) => same(record, records[index]))
console.log('read back by log, byte for byte')

link.send(['subscribe', 4, [[[], '', [author], [], [], []]], 0])
for (const record of records) {
  const [name, cursor, found] = await link.receive()
  assert.equal(name, 'event')
  assert.ok(cursor > 0)
  same(found, record)
}
assert.deepEqual((await link.receive()).slice(0, 2), ['caught-up', 4])
console.log('read back by subscribe, byte for byte')

await link.close()
