// The main of the single executable: starts the bundled program, as procore-proxy.cjs does, from what was put into Node.
const { getRawAsset } = require('node:sea')
const loader = require('./loader.cjs')

loader({ bytes: (file) => Buffer.from(getRawAsset(file)), path: () => __filename })('program')
