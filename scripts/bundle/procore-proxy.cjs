#!/usr/bin/env node
// Starts the bundled program.
const { fstatSync, openSync, readFileSync, readSync } = require('node:fs')
const { join } = require('node:path')
const loader = require('./loader.cjs')

const path = (file) => join(__dirname, file)

/** A file as it is now, whatever becomes of its name; undefined where there is none. */
const hold = (file) => {
  try {
    const handle = openSync(path(file))
    const { size, mtimeMs } = fstatSync(handle)
    return { handle, size, mtimeMs }
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}
// A part that is loaded later has to be of the same version, and to be had when no file can be opened any more.
const files = PART_NAMES.flatMap((name) => [`${name}.cjs`, `${name}.v8`])
const held = new Map(files.map((file) => [file, hold(file)]))

const bytes = (file) => {
  const before = held.get(file)
  if (before === undefined) return readFileSync(path(file))
  const { size, mtimeMs } = fstatSync(before.handle)
  if (size !== before.size || mtimeMs !== before.mtimeMs) {
    throw new Error('the program was written over after it had started: restart it')
  }
  const whole = Buffer.allocUnsafeSlow(size)
  for (let length = 0; length < size; ) {
    const read = readSync(before.handle, whole, length, size - length, length)
    if (read === 0) throw new Error(`${path(file)} is shorter than it was`)
    length += read
  }
  return whole
}

const scripts = new Map()
const run = loader({
  bytes,
  path,
  told: require.main === module ? undefined : (...told) => scripts.set(...told),
})

if (require.main === module) run('program')
else module.exports = { run, scripts, path }
