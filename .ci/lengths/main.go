// Command lengths fails when a function or a file of Go has grown too long to
// read: functions fit a screen, files have one subject.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const maxFunction, maxFile = 100, 800

func main() {
	bad := false
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		length := func(n ast.Node) int { return set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1 }
		if n := length(file); n > maxFile {
			fmt.Printf("%s has %d lines, more than %d\n", path, n, maxFile)
			bad = true
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && length(f) > maxFunction {
				fmt.Printf("%s: %s has %d lines, more than %d\n", set.Position(f.Pos()), f.Name.Name, length(f), maxFunction)
				bad = true
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		bad = true
	}
	if bad {
		os.Exit(1)
	}
}
