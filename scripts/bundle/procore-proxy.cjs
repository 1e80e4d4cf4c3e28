#!/usr/bin/env node
// Starts the bundled program.
const { readFileSync, statSync } = require('node:fs')
const { join } = require('node:path')
const loader = require('./loader.cjs')

const path = (file) => join(__dirname, file)
const look = (file) => {
  const { ino, size, mtimeMs } = statSync(path(file))
  return `${ino} ${size} ${mtimeMs}`
}
// Parts of another version would be worse than none.
const atStart = new Map(PART_NAMES.map((name) => [`${name}.cjs`, look(`${name}.cjs`)]))
const bytes = (file) => {
  if (atStart.has(file) && atStart.get(file) !== look(file)) {
    throw new Error('the program was replaced on disk after it had started: restart it')
  }
  return readFileSync(path(file))
}
const scripts = new Map()
const run = loader({
  bytes,
  path,
  told: require.main === module ? undefined : (...told) => scripts.set(...told),
})

if (require.main === module) run('program')
else module.exports = { run, scripts, path }
