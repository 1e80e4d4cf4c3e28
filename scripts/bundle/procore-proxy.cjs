#!/usr/bin/env node
// Starts the bundled program, from the code that V8 made of it at the build where that fits this Node: no parsing, no compiling.
const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const { Script } = require('node:vm')

const PROGRAM = join(__dirname, 'program.cjs')
const CODE = join(__dirname, 'program.v8')

/** The program, compiled; V8 itself refuses code of another version, another machine or other flags. */
function load() {
  let cachedData
  try {
    cachedData = readFileSync(CODE)
  } catch {
    // The package for npm has none: it would fit one version of Node only.
  }
  // A function, and all of it is ASCII.
  return new Script(readFileSync(PROGRAM, 'latin1'), { filename: PROGRAM, cachedData })
}

if (require.main === module) load().runInThisContext()(require, PROGRAM)
else module.exports = { load, CODE, PROGRAM }
