<?php
// Receives the statuses that Sluice's relay sends. To try it: php -S 127.0.0.1:8099 webhook.php
declare(strict_types=1);

require __DIR__ . '/seen.php';

ini_set('display_errors', '0'); // with this setting on, PHP answers 200 after an exception, and Sluice does not send the request again

/** Whether the relay signed the body: the bytes as they came, not JSON that was read and written again. */
function verified(string $body, string $signature): bool
{
    $secret = (string) getenv('WEBHOOK_SECRET');
    $want = 'sha256=' . hash_hmac('sha256', $body, $secret);
    // Without a secret everyone could sign. hash_equals takes the same time for every wrong signature, so an attacker cannot
    // guess it.
    return $secret !== '' && hash_equals($want, $signature);
}

$body = (string) file_get_contents('php://input');
if (!verified($body, $_SERVER['HTTP_X_HUB_SIGNATURE_256'] ?? '')) {
    http_response_code(403);
    exit;
}
foreach (json_decode($body, true, flags: JSON_THROW_ON_ERROR)['entry'] as $entry) {
    foreach ($entry['changes'] as $change) {
        foreach ($change['value']['statuses'] ?? [] as $status) {
            if (first("{$status['id']} {$status['status']}")) {
                error_log('webhook: ' . ($status['sluice']['ref'] ?? '') . " {$status['status']}");
            }
        }
    }
}
// The statuses are stored, so PHP answers 200. After an exception it answers 500, and Sluice sends the request again. Answer
// within 10 s, and leave slow work to a queue.
