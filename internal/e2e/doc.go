// Package e2e holds Hearth's end-to-end tests. They build the program, start it
// as its users do, and talk to it over HTTP only: through Element's own engine,
// through a bot library, with a browser where it shows pages, and by hand where a
// client would never dare.
//
// Optional helpers are named by environment variables:
//
//   - HEARTH_SPECPROXY and HEARTH_SPEC: a proxy that checks every answer against
//     the Matrix API definitions, and the folder of these. With both set, all
//     traffic goes through it and a single violation fails the test.
package e2e
