// The main of the single executable: runs the bundled program from the code that V8 made of it, as procore-proxy.cjs does.
const { getRawAsset } = require('node:sea')
const { Script } = require('node:vm')

const bytes = (name) => Buffer.from(getRawAsset(name))
// All of it is ASCII.
const source = bytes('program.cjs').latin1Slice()
const script = new Script(`(function (require, __filename) {${source}\n})`, {
  filename: __filename,
  cachedData: bytes('program.v8'),
})
script.runInThisContext()(require, __filename)
