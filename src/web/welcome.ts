export const welcomePage = '<!doctype html><title>Pollywog</title>';
