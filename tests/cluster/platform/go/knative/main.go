// Checks a Knative Service, as JSON on standard input, with the code that Knative's admission webhook runs.
// Without Knative's own ConfigMaps the defaults are those that it ships.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"knative.dev/pkg/apis"
	serving "knative.dev/serving/pkg/apis/serving/v1"
)

func main() {
	var service serving.Service
	decoder := json.NewDecoder(os.Stdin)
	if err := decoder.Decode(&service); err != nil {
		fmt.Fprintln(os.Stderr, "not a Knative Service:", err)
		os.Exit(2)
	}
	ctx := apis.WithinCreate(context.Background())
	service.SetDefaults(ctx)
	// Warnings are shown to people and refuse nothing.
	if err := service.Validate(ctx).Filter(apis.ErrorLevel); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
