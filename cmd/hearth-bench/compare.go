package main

import (
	"context"
	"errors"
)

func compareCommand(ctx context.Context, args []string) error { return errors.New("later") }
