// The main of the single executable: runs the bundled program from the code that V8 made of it, as procore-proxy.cjs does.
const { getRawAsset } = require('node:sea')
const { Script } = require('node:vm')

const bytes = (name) => Buffer.from(getRawAsset(name))
// A function, and all of it is ASCII.
const script = new Script(bytes('program.cjs').latin1Slice(), {
  filename: __filename,
  cachedData: bytes('program.v8'),
})
script.runInThisContext()(require, __filename)
